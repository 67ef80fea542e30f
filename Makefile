# What a clone needs: everything else is labctl's own business. Runs as root on Debian or Ubuntu.

CARGO ?= cargo
LAB   ?= inventories/sandbox.yaml

# Where cargo puts what it builds: CARGO_TARGET_DIR, when that is set.
TARGET         = $(or $(CARGO_TARGET_DIR),target)
LABCTL_RELEASE = $(TARGET)/release/labctl
# Which part of all mutants `make mutants` tries.
SHARD         ?= 0/8
# Stories of real labs that only `make lab-matrix` tells, because each takes many minutes.
MATRIX         = add_ons_of_ones_own with_the_other_choices for_machines_of_ones_own \
                 killed_in_each_of_its_stages smoke_names_what_is_broken other_peoples_machines \
                 status_names_what_is_wrong doas_is_enough up_is_recorded \
                 the_script_builds_the_sandbox
# Labs that only `make labs` brings up; `make lab` has the others.
LABS           = the_controller_manager_gives labs::vxlan labs::local_lb labs::vip labs::users \
                 labs::static_pods labs::docker labs::bootstrap labs::oidc labs::flannel \
                 labs::kube_router labs::interconnect labs::workshop labs::submit labs::ipv6
# Versions of Kubernetes that `make versions` tries.
VERSIONS      ?= 1.20.2 1.30.14 1.31.0 1.32.2 1.33.13 1.34.4 1.35.4 1.36.3 1.37.2

# Whoever runs the tests may have set what labctl reads, or what has expected outputs rewritten.
unexport $(filter-out LABCTL_CACHE,$(filter LABCTL_%,$(.VARIABLES))) TRYCMD INSTA_UPDATE

# Each step needs the one before it, and a lab needs the machine for itself.
.NOTPARALLEL:
.PHONY: help demo down test test-all check unit lab labs lab-matrix kills versions recording \
	prerequisites bundle bench mutants mangled deny golden clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: prerequisites ## Build labctl, get a bundle, and bring up the sandbox: six local nodes
	$(CARGO) build --release --locked
	$(MAKE) --no-print-directory bundle LABCTL="$(LABCTL_RELEASE)"
	$(LABCTL_RELEASE) up $(LAB)
	@echo
	@echo "labctl is $(LABCTL_RELEASE), kubectl is bundle/bin/kubectl; \`make down\` removes the lab."

down: ## Remove the demo's lab
	$(LABCTL_RELEASE) down --yes $(LAB)

test: prerequisites check bundle unit lab ## Run the tests, with real labs; `make lab-matrix` has the longest ones

test-all: test labs lab-matrix kills versions bench deny ## The tests, all labs, the benchmark and the check of the dependency tree

check: ## Formatting and lints
	$(CARGO) fmt --check
	rustfmt --check --edition 2024 src/module/*.rs
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --quiet
	shellcheck -s sh -e SC2154 src/node/*.sh src/node/family/*.sh src/plan/*.sh
	shellcheck -s sh -e SC2016 tests/machines/*.sh
	shellcheck -s sh tests/support/census.sh tests/prerequisites tests/get-bundle .ci/run .ci/matrix
	shellcheck -s sh -x -e SC2016 benches/lib.sh benches/run benches/peers benches/report \
		benches/*/row benches/*/*/issue benches/*/by-hand
	shellcheck -s sh inventories/oidc/log-in inventories/interconnect/cable
	shellcheck -x tests/bundle/build tests/extras/build tests/extras/issuer/build \
		benches/kubeadm/build

unit: ## All tests but the real labs
	$(CARGO) test --locked --lib --bins $$(ls tests/*.rs tests/*/main.rs | \
		sed -E 's,^tests/([^/]*)(/main)?\.rs$$,\1,; /^lab$$/d; s,^,--test ,')

lab: bundle ## Real labs: systemd nodes, etcd, Kubernetes
	$(CARGO) test --locked --test lab -- --nocapture $(MATRIX:%=--skip %) --skip versions:: \
		--skip kills:: $(LABS:%=--skip %)

labs: bundle ## The labs of docs/labs: each comes up, shows what it is there to show, and goes
	mkdir -p bundles
	tests/bundle/build --kubernetes 1.20.2 bundles/1.20.2
	$(CARGO) test --locked --test lab -- --nocapture labs::

lab-matrix: bundle ## More real labs: VXLAN, nftables, RSA, a reboot; a rotation with kills; broken labs; machines of others
	$(CARGO) test --locked --test lab -- --nocapture $(MATRIX)

kills: bundle ## `up` killed in fifty moments, and a node without power in fifty more: writes docs/robustness.md
	KILLS=50 KILLS_WRITE=1 $(CARGO) test --locked --test lab -- --nocapture kills::

versions: prerequisites bundle ## Labs of several versions of Kubernetes, built from source, and an upgrade over all of them
	mkdir -p bundles
	for version in $(VERSIONS); do \
		tests/bundle/build --kubernetes $$version bundles/$$version || exit 1; \
	done
	VERSIONS_WRITE=1 $(CARGO) test --locked --test lab -- --nocapture versions::

recording: bundle ## Record `labctl up` in a terminal: writes docs/up.svg
	RECORDING_WRITE=1 $(CARGO) test --locked --test lab -- --nocapture up_is_recorded

prerequisites: ## Install what is missing on this machine
	tests/prerequisites

bundle: ## A bundle in ./bundle: the one that is there, else pulled, else built from source
	LABCTL="$(LABCTL)" tests/get-bundle

bench: prerequisites bundle ## labctl side by side with Ansible, pyinfra, fabric, scp, openssl: writes benches/results.md
	$(CARGO) build --release --locked --bins --examples
	benches/run

mutants: ## Mutants of what decides what a node gets: every eighth, or SHARD=k/n; hours, and not in CI
	command -v cargo-mutants >/dev/null || $(CARGO) install --locked cargo-mutants
	$(CARGO) mutants --sharding round-robin --shard $(SHARD) -- --lib --test it

mangled: ## A million mangled inventories, answers, logs and backups: writes docs/robustness.md
	MANGLED=1000000 MANGLED_WRITE=1 $(CARGO) test --locked --test mangled -- --nocapture

deny: ## Licences, advisories and sources of all dependencies
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	cargo deny check

golden: ## Regenerate all expected outputs, to be reviewed as a diff
	LABCTL_UPDATE_GOLDEN=1 $(CARGO) test --locked --test it -- golden:: inventory:: docs::

clean: ## Remove what was built here; caches stay
	$(CARGO) clean
