# The operator's image: one static binary and nothing else. The public certificate authorities are
# built into it; a vendor with another one is reached by tls.caBundle.
#
# RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target x86_64-unknown-linux-gnu -p fulfillment-operator
# docker build -t localhost/fulfillment-operator:0.1.0 .
#
# `buildah bud` takes the same arguments.
FROM scratch
ARG TARGET=x86_64-unknown-linux-gnu
COPY target/${TARGET}/release/fulfillment-operator /
USER 65532:65532
ENTRYPOINT ["/fulfillment-operator"]
