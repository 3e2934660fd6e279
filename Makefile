# Keyreeve. `make` alone lists what there is. build, run and test need only Go
# and make; what else a target needs stands beside it.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

DATA      ?= keyreeve-data
FUZZTIME  ?= 100000x
BENCH     ?= .
BENCHTIME ?= 1s
GO        ?= go
NOCGO     = CGO_ENABLED=0 $(GO)

SHELL         = /bin/bash
.SHELLFLAGS   = -eu -o pipefail -c
.DEFAULT_GOAL = help
.PHONY: help build keyreeve run lab demo test test-lab race fuzz lint vuln interop power conformance conformance-server bench long clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build all programs into bin/
	$(NOCGO) build -trimpath -o bin/ ./cmd/...

# The server alone: the lab links vCenter's simulator, which takes long to build.
keyreeve:
	$(NOCGO) build -trimpath -o bin/ ./cmd/keyreeve

run: keyreeve ## build, make a store in ./keyreeve-data on first use, serve KMIP on 5696
	@test -e $(DATA)/store.db || bin/keyreeve init --data $(DATA)
	@exec bin/keyreeve server --data $(DATA)

lab: build ## build, start a lab (server, vCenter, OVHcloud), stay until Ctrl-C (LAB=flags)
	@exec bin/keyreeve-lab $(LAB)

# On a fresh clone nearly all the time is the compiler's, over the vSphere API's
# types. So where those are not in the build cache the demo is built without
# optimisation and debugger's tables, a third less work, and apart from bin/,
# where nobody takes it for the real thing. The standard library is taken as it
# is if that is in the cache.
QUICK  = GOGC=200 $(NOCGO) build -gcflags='all=-N -l -dwarf=false -c=2' -ldflags='-s -w' -o bin/demo/
CACHED = test "$$($(NOCGO) list $(1) -f '{{.Stale}}' $(2))" = false

demo: ## build, walk through the vendor's guide once in a lab, and prove each step
	@if $(call CACHED,-trimpath,github.com/vmware/govmomi/vim25/types); \
	then $(NOCGO) build -trimpath -o bin/ ./cmd/keyreeve ./cmd/keyreeve-lab; exec bin/keyreeve-lab demo; \
	elif $(call CACHED,,net/http); \
	then $(QUICK) -gcflags=std= ./cmd/keyreeve ./cmd/keyreeve-lab; \
	else $(QUICK) ./cmd/keyreeve ./cmd/keyreeve-lab; \
	fi; exec bin/demo/keyreeve-lab demo

test: ## every test that needs only Go
	$(NOCGO) vet ./...
	$(NOCGO) test -timeout 20m ./...

race: ## the same tests with the race detector (needs gcc)
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...

# A number of runs, not of seconds: with a time, a fuzz test fails now and then at
# its end with "context deadline exceeded" and without an input (golang/go#75804;
# mended in Go 1.27). And each input that is new is made smaller by 10 runs at
# most: the default is a minute, in which nothing else is tried.
fuzz: ## each fuzz test, FUZZTIME runs of it
	@found=0; \
	for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
	  for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
	    found=1; echo "== $$name in $$(dirname $$file)"; \
	    $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$(dirname $$file); \
	  done; \
	done; test $$found = 1

lint: ## gofmt, go vet with every build tag, staticcheck, go.mod tidy, govulncheck
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './.*')); test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	$(GO) vet -tags interop,power,long,lab ./...
	$(GO) run $(STATICCHECK) -tags interop,power,long,lab ./...
	$(GO) mod tidy -diff
	@$(MAKE) --no-print-directory vuln

# The database of vulnerabilities is on the network. Where that cannot be
# reached the check did not happen, and this says so; any finding fails.
vuln: ## govulncheck alone (needs vuln.go.dev)
	@code=0; out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1) || code=$$?; echo "$$out"; \
	if [ $$code -ne 0 ] && echo "$$out" | grep -q 'fetching vulnerabilities'; then \
	  echo "lint: govulncheck did NOT run: its database cannot be reached from here"; exit 0; \
	fi; exit $$code

# -run fits every test; an empty run is an error: it would prove nothing.
interop: keyreeve ## programs that are not ours (needs /usr/bin/python3 with python3-pykmip, systemd-analyze, promtool)
	@$(MAKE) --no-print-directory tagged TAG=interop TIME=15m

test-lab: ## whole labs: 500 machines, the key server killed in the middle, the README's transcript
	@$(MAKE) --no-print-directory tagged TAG=lab TIME=15m

power: keyreeve ## SIGKILL, strace, a full disk and failing syncs on the real binary (needs strace)
	@$(MAKE) --no-print-directory tagged TAG=power TIME=25m SKIP='Long$$$$'

.PHONY: tagged
tagged:
	@log=$$(mktemp); trap "rm -f $$log" EXIT; \
	packages=$$(grep -rl --include='*_test.go' '^//go:build.*$(TAG)' . | xargs -r -n1 dirname | sort -u); \
	$(GO) test -tags $(TAG) -count=1 -v -timeout $(TIME) -skip '$(SKIP)' $${packages:?no test has the tag $(TAG)} 2>&1 | tee $$log; \
	grep -q '^--- PASS' $$log || { echo "$(TAG): no test ran"; exit 1; }

conformance: keyreeve ## OASIS test cases over TLS (KMIP_CASES=folder, KMIPCONF=folder of the runner)
	.ci/conformance

conformance-server: keyreeve ## a server in the set-up of the OASIS cases, on ADDR=host:port, until it is killed
	@ADDR='$(ADDR)' exec .ci/conformance-server

bench: ## benchmarks that need only Go
	$(NOCGO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

long: race fuzz lint interop ## hours: everything that needs no other folder, the long disk model too
	@$(MAKE) --no-print-directory tagged TAG=power TIME=120m

clean: ## remove what was built; never a data folder
	rm -rf bin
