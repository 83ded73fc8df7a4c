# Two images of one source: the API (no torch) and the worker. `docker compose build` makes both.
FROM python:3.12-slim AS base
WORKDIR /app
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 NORMLAB_HOME=/var/lib/normlab
RUN useradd --system --create-home --home-dir /var/lib/normlab normlab
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY api api
COPY db db
COPY models models
COPY worker worker

FROM base AS api
RUN pip install --constraint constraints.txt .
USER normlab
EXPOSE 8000
CMD ["normlab-server", "api"]

FROM base AS worker
# Another index gives another build of torch: .../whl/cpu, or .../whl/cu130 for a machine with a GPU.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --constraint constraints.txt --extra-index-url "$TORCH_INDEX" '.[worker]'
USER normlab
# A running job is handed back on SIGTERM, at its next step.
STOPSIGNAL SIGTERM
CMD ["normlab-server", "worker"]
