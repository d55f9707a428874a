# What a GPU pod runs: samaflow-worker with torch. torch's wheel brings CUDA; the driver comes from the node's runtime.
#   docker build -f k8s/images/gpu.Dockerfile -t REGISTRY/samaflow-gpu:TAG .
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --user-group --create-home samaflow

# torch.compile has the launchers of its kernels built by a C compiler at run time.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# First what samaflow needs, gigabytes of it, then samaflow: a change of the code changes the small last layers alone.
WORKDIR /opt/samaflow
COPY pyproject.toml constraints.txt README.md LICENSE ./
# hadolint ignore=DL3013
RUN PIP_CONSTRAINT=/opt/samaflow/constraints.txt pip install '.[train]'
COPY edits edits
COPY metrics metrics
COPY sama_model sama_model
COPY sql sql
COPY tasks tasks
COPY flows flows
RUN PIP_CONSTRAINT=/opt/samaflow/constraints.txt pip install --no-deps --force-reinstall .

USER 10001:10001
# A pod sees the GPUs that the device plugin gives it; one that asked for none (weights, probes) sees none.
ENV HOME=/home/samaflow NVIDIA_VISIBLE_DEVICES=void NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /home/samaflow
CMD ["samaflow-worker", "--help"]
