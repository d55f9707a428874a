# The flow side: flows, the command line, Prefect's server and worker. No torch.
#   docker build -f k8s/images/flow.Dockerfile -t REGISTRY/samaflow-flow:TAG .
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --user-group --create-home samaflow

# First what samaflow needs, then samaflow: a change of the code changes the small last layers alone.
WORKDIR /opt/samaflow
COPY pyproject.toml constraints.txt README.md LICENSE ./
# hadolint ignore=DL3013
RUN PIP_CONSTRAINT=/opt/samaflow/constraints.txt pip install '.[kubernetes,postgresql]'
COPY edits edits
COPY metrics metrics
COPY sama_model sama_model
COPY sql sql
COPY tasks tasks
COPY flows flows
RUN PIP_CONSTRAINT=/opt/samaflow/constraints.txt pip install --no-deps --force-reinstall .
COPY prefect.yaml ./
COPY k8s k8s

USER 10001:10001
ENV HOME=/home/samaflow PREFECT_HOME=/home/samaflow/prefect \
    SAMAFLOW_STATE_FOLDER=/scratch/state SAMAFLOW_WEIGHTS_FOLDER=/weights \
    SAMAFLOW_KUBERNETES_JOB_TEMPLATE=/opt/samaflow/k8s/job_template.yaml
WORKDIR /home/samaflow
CMD ["samaflow", "--help"]
