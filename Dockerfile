# syntax=docker/dockerfile:1
# Sallyport as one static binary and nothing else: no shell, no package manager, no root.
#
#   docker build -t sallyport .
#   docker run -v ./config:/etc/sallyport/config:ro -v ./secrets:/etc/sallyport/secrets:ro -v sallyport:/var/lib/sallyport \
#     -p 8443:8443 -p 8444:8444 sallyport serve --init
FROM --platform=$BUILDPLATFORM golang:1.26.10-bookworm AS build
ARG TARGETOS TARGETARCH
ARG VERSION=0.1.0-dev COMMIT
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION -X main.revision=$COMMIT" -o /out/sallyport ./cmd/sallyport
# What the final image has besides: a user, and the folders it may write to.
RUN mkdir -p /root-fs/etc/sallyport/config /root-fs/var/lib/sallyport /root-fs/run/sallyport \
 && echo 'sallyport:x:65532:65532:sallyport:/var/lib/sallyport:/sbin/nologin' > /root-fs/etc/passwd \
 && echo 'sallyport:x:65532:' > /root-fs/etc/group \
 && chown -R 65532:65532 /root-fs/var/lib/sallyport /root-fs/run/sallyport \
 && chmod 0700 /root-fs/var/lib/sallyport /root-fs/run/sallyport

FROM scratch
LABEL org.opencontainers.image.title="sallyport" \
      org.opencontainers.image.description="An identity-aware reverse proxy that hears over SCIM who belongs"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /root-fs/ /
COPY --from=build /out/sallyport /sallyport
USER 65532:65532
WORKDIR /etc/sallyport/config
VOLUME ["/var/lib/sallyport"]
EXPOSE 8443 8444
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/sallyport", "healthcheck"]
ENTRYPOINT ["/sallyport"]
CMD ["serve"]
