# docker build -t unrolled .                                   the registry's torch: CUDA, and CPUs as well
# docker run --rm -v "$PWD:/work" unrolled fit char_lm/text --data.path text.txt
# docker run --rm --gpus all -v "$PWD:/work" unrolled fit translation
#
# torch and torchvision have to come from one index: for an image without CUDA, a third of the size, give that of
# torch's CPU builds by --build-arg TORCH_INDEX=ADDRESS.
FROM python:3.11-slim

ARG TORCH_INDEX=""
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision; fi

COPY . /src/unrolled
RUN pip install --no-cache-dir /src/unrolled && rm -r /src

# Not root; runs/ and the cache belong to whoever started it: docker run --user "$(id -u)"
RUN useradd --create-home user
USER user
ENV UNROLLED_CACHE=/tmp/unrolled
WORKDIR /work
ENTRYPOINT ["unrolled"]
