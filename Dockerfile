# A client or server of a federation: docker build -t werkbund . && docker run --rm werkbund --help
# A plant: docker run -v ./kit:/kit werkbund client start /kit
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/werkbund
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
# An index with builds of PyTorch for the CPU alone keeps gigabytes of drivers out: --build-arg TORCH_INDEX=URL
ARG TORCH_INDEX=
RUN /opt/werkbund/bin/pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
    && /opt/werkbund/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.12-slim
COPY --from=build /opt/werkbund /opt/werkbund
RUN useradd --create-home --uid 10001 werkbund
USER 10001
WORKDIR /home/werkbund
ENV PATH=/opt/werkbund/bin:$PATH NUMBA_CACHE_DIR=/home/werkbund/.cache/numba PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["werkbund"]
CMD ["--help"]
