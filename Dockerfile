# docker build -t latchkey .
# docker run -p 127.0.0.1:8090:8090 -v latchkey:/var/lib/latchkey latchkey
# The first start prints a one-time set-up URL. TLS belongs to the proxy in front.

FROM swift:6.3-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libcurl4-openssl-dev libpq-dev libqrencode-dev libre2-dev libsodium-dev libsqlite3-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The packages are fetched in a layer of their own, which a change to the sources does not renew.
COPY Package.swift ./
RUN swift package resolve
COPY Sources Sources
# Package.swift names the test targets, so the package does not load without their folders.
COPY Tests Tests
RUN swift build -c release --static-swift-stdlib --product latchkey \
    && install -D "$(swift build -c release --static-swift-stdlib --show-bin-path)/latchkey" /out/latchkey \
    && strip /out/latchkey

FROM debian:12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libcurl4 libpq5 libqrencode4 libsqlite3-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 8090 --home-dir /var/lib/latchkey --shell /usr/sbin/nologin latchkey \
    && install -d -m 700 -o latchkey -g latchkey /var/lib/latchkey
COPY --from=build /out/latchkey /usr/local/bin/latchkey
COPY LICENSE NOTICE /usr/share/doc/latchkey/
USER latchkey
# Stops the image from being built when a library is missing.
RUN ["latchkey", "version"]
ENV LATCHKEY_DATA_DIR=/var/lib/latchkey LATCHKEY_HOST=0.0.0.0 LATCHKEY_PORT=8090
VOLUME /var/lib/latchkey
EXPOSE 8090
# The image has no curl; bash opens the connection itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${LATCHKEY_PORT} \
    && printf 'GET /api/ready HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 \
    && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["latchkey"]
CMD ["serve"]
