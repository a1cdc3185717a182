// SPDX-License-Identifier: Apache-2.0
// Nothing of ours is built: Jaeger itself, at this version (go build github.com/jaegertracing/jaeger/cmd/jaeger).

module clovisor.test/jaeger

go 1.26.0

require github.com/jaegertracing/jaeger v1.76.0
