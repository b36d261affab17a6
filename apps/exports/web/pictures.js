// Frames as the model reads them.

/** The weights of a row of pixels for a shorter or longer one, as torch's antialiased bilinear. */
function taps(from, to) {
  const scale = from / to, reach = Math.max(scale, 1), found = [];
  for (let number = 0; number < to; number++) {
    const middle = scale * (number + 0.5);
    const first = Math.max(Math.trunc(middle - reach + 0.5), 0);
    const end = Math.min(Math.trunc(middle + reach + 0.5), from);
    const weights = [];
    for (let place = first; place < end; place++)
      weights.push(Math.max(0, 1 - Math.abs((place - middle + 0.5) / reach)));
    const sum = weights.reduce((a, b) => a + b, 0);
    found.push({ first, weights: weights.map((one) => one / sum) });
  }
  return found;
}

const byte = (value) => Math.max(0, Math.min(255, Math.floor(value + 0.5)));

/** Return a picture (height, width, RGBA) as bytes (3, side, side), stretched to the square. */
function squared(pixels, width, height, side) {
  const across = taps(width, side), down = taps(height, side);
  const middle = new Uint8Array(3 * height * side); // (3, height, side)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < side; x++) {
      const { first, weights } = across[x];
      let red = 0, green = 0, blue = 0;
      for (let tap = 0, at = 4 * (y * width + first); tap < weights.length; tap++, at += 4) {
        red += weights[tap] * pixels[at];
        green += weights[tap] * pixels[at + 1];
        blue += weights[tap] * pixels[at + 2];
      }
      middle[y * side + x] = byte(red);
      middle[(height + y) * side + x] = byte(green);
      middle[(2 * height + y) * side + x] = byte(blue);
    }
  const found = new Uint8Array(3 * side * side);
  for (let channel = 0; channel < 3; channel++)
    for (let y = 0; y < side; y++) {
      const { first, weights } = down[y];
      for (let x = 0; x < side; x++) {
        let sum = 0;
        for (let tap = 0; tap < weights.length; tap++)
          sum += weights[tap] * middle[(channel * height + first + tap) * side + x];
        found[(channel * side + y) * side + x] = byte(sum);
      }
    }
  return found;
}
