# Thin names for the commands of this repository; the work is done by the scripts they call.
GO ?= go
FUZZTIME ?= 30s
export GOTOOLCHAIN ?= $(shell sed -n 's/^toolchain //p' go.mod)

.PHONY: help test lint vulnerabilities fuzz mutants bench bench-compare bench-policy demo screenshots pictures release

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

test: ## every test; installs what is missing on Debian
	./test.sh

lint: ## the linters that .ci/run runs
	.ci/run lint

vulnerabilities: ## known vulnerabilities in what the binary calls
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

fuzz: ## every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

mutants: ## how many mutants of the deciding packages the tests kill
	.ci/mutants

bench: ## what a request costs, beside others in one run
	$(GO) run ./bench

bench-compare: ## the same, held against the stored figures of bench/baseline; BENCH='-only stock,session' for some rows
	.ci/bench-compare $(BENCH)

bench-policy: ## what a decision costs, beside cel-go, cedar-go, casbin and OPA in one run
	$(GO) -C bench/policy run .

demo: ## a company in front of a real Sallyport on this machine
	$(GO) run ./cmd/sallyport demo

screenshots: ## pictures of every page of the console in screenshots/
	node browser/screenshots.mjs screenshots

pictures: ## the pictures of docs/console.md
	node browser/screenshots.mjs --docs docs/images

release: ## archives, packages, image, chart, SBOM and checksums in .cache/release; VERSION=1.2.3 names them
	.ci/release $(VERSION)
