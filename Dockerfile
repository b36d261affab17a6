# docker build -t unrolled .                                   the registry's torch: CUDA, and CPUs as well
# docker run --rm -v "$PWD:/work" unrolled fit char_lm/text --data.path text.txt
# docker run --rm --gpus all -v "$PWD:/work" unrolled fit translation
#
# For an image without CUDA, a third of the size, give one with Python 3.11 or newer that has torch's and torchvision's CPU
# builds: --build-arg BASE=IMAGE.
ARG BASE=python:3.11-slim
FROM ${BASE}

COPY . /src/unrolled
RUN pip install --no-cache-dir /src/unrolled && rm -r /src

# Not root; runs/ and the cache belong to whoever started it: docker run --user "$(id -u)"
RUN useradd --uid 1000 --create-home user
USER 1000
ENV UNROLLED_CACHE=/tmp/unrolled
WORKDIR /work
ENTRYPOINT ["unrolled"]
