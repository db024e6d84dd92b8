# mpr on a GPU, or on a CPU:
#
#   docker build --tag mpr .                             docker run --rm --gpus all mpr
#   docker build --tag mpr:cpu --build-arg VARIANT=cpu . docker run --rm mpr:cpu
#
# Both install what uv.lock names by the very commands of `make setup`. CUDA 13.0 is what the lock's torch is built for.
# The host brings the driver; faiss searches on the CPU in either.
ARG VARIANT=cuda

FROM nvidia/cuda:13.0.2-runtime-ubuntu24.04 AS cuda
ENV TORCH_INDEX="--index-url https://download.pytorch.org/whl/cu130"

FROM ubuntu:24.04 AS cpu
ENV TORCH_INDEX="--index-url https://download.pytorch.org/whl/cpu"

FROM ${VARIANT}
# Python 3.12 is the one of this release; its patches come from the distribution.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates make python3.12 python3.12-venv \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 --shell /usr/sbin/nologin mpr \
 && install --directory --owner mpr --group mpr /opt/mpr /workspace
USER mpr
WORKDIR /opt/mpr
ENV PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 PYTHONUNBUFFERED=1

# The packages are a layer of their own: a change of the code does not install them again.
COPY --chown=mpr:mpr Makefile pyproject.toml uv.lock ./
RUN make packages PYTHON=python3.12 UV_EXPORT=--no-dev TORCH_INDEX="${TORCH_INDEX}"
COPY --chown=mpr:mpr CITATION.cff LICENSE README.md hatch_build.py ./
COPY --chown=mpr:mpr mpr mpr
COPY --chown=mpr:mpr recipes recipes
RUN make setup PYTHON=python3.12 UV_EXPORT=--no-dev

# Mount a folder of yours at /workspace: data (.mpr), runs and what the Hub gave stay there. With `--user` anybody may
# run it; USER and HOME are for libraries that ask the system who that is.
ENV PATH=/opt/mpr/.venv/bin:${PATH} USER=mpr HOME=/workspace HF_HOME=/workspace/.huggingface
WORKDIR /workspace
VOLUME /workspace
ENTRYPOINT ["mpr"]
CMD ["reproduce", "/opt/mpr/recipes/quickstart.yaml"]
