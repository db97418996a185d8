# Twotone with all that it needs: it colors photographs, and trains in a checkout (docs/how-to/container.md).
FROM debian:bookworm-slim

# cpu, or a version of CUDA as uv names it, such as cu130; empty takes the registry's own build, which has CUDA.
ARG TORCH_BACKEND=cpu

ENV PATH=/opt/twotone/bin:/opt/uv/bin:$PATH VIRTUAL_ENV=/opt/twotone HOME=/tmp UV_LINK_MODE=copy
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*'

RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv>=0.9,<1" && uv venv /opt/twotone

COPY . /twotone
WORKDIR /twotone

# The versions are those of the date in pyproject.toml, whichever build of torch is chosen. Indexes of builds name no dates,
# hence --no-config where they are asked.
RUN uv pip compile --quiet --no-cache --extra film --extra heic --extra perceptual --extra s3 --extra serve \
    --extra train --extra weights --output-file /tmp/versions.txt pyproject.toml \
    && uv pip install --no-cache --no-config --constraint /tmp/versions.txt \
    ${TORCH_BACKEND:+"--torch-backend=$TORCH_BACKEND"} ".[film,heic,perceptual,s3,serve,train,weights]" \
    && rm /tmp/versions.txt

ENTRYPOINT ["twotone"]
CMD ["colorize", "/photographs", "-o", "/photographs/colored"]
