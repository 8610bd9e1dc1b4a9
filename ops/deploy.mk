# SPDX-License-Identifier: MIT
# Deployment: Fly.io, Docker, and the three roles on this machine.  Read by the Makefile.
# Names, region and sizes of the apps: ops/fly.conf.

DEPLOY_ROLES := server gateway worker
each = $(addprefix $(1)-,$(DEPLOY_ROLES))

# Settings of the scripts, whether given in the environment or after `make`,
# as they are: nothing in them is make's or the shell's.
quote = '$(subst ','\'',$(1))'
DEPLOY_ENV := $(foreach v,DRY_RUN ENV_FILE BUILD COUNT SIZE MEMORY VERSION,$(if $(value $(v)),$(v)=$(call quote,$(value $(v)))))

.PHONY: secrets-all secrets-autoscaler secrets-check secrets-generate $(call each,secrets) \
	deploy-all deploy-autoscaler $(call each,deploy) status-all status-autoscaler $(call each,status) \
	logs-autoscaler $(call each,logs) $(call each,scale) $(call each,rollback) $(call each,ssh) \
	$(call each,run) db-migrate check-config docker-up docker-down docker-logs docker-build docker-rebuild \
	docker-probe deploy-test deploy-test-image deploy-test-single deploy-help

# `make secrets-all deploy-all`: the deployment brings the values, one release an app.
STAGE ?= $(if $(filter deploy-%,$(MAKECMDGOALS)),1)
secrets-all secrets-autoscaler $(call each,secrets): secrets-%:
	@$(DEPLOY_ENV) ops/setup-fly-secrets.sh $(if $(filter 1,$(STAGE)),--stage) $*
secrets-check:
	@$(DEPLOY_ENV) ops/secrets-check.sh $(if $(value ROLE),$(call quote,$(value ROLE)))
secrets-generate:
	@$(DEPLOY_ENV) ops/secrets-generate.sh

# In this order, with -j too.
deploy-all deploy-autoscaler $(call each,deploy): | $(filter secrets-%,$(MAKECMDGOALS))
deploy-all deploy-autoscaler $(call each,deploy): deploy-%:
	@$(DEPLOY_ENV) ops/fly.sh deploy $*
status-all status-autoscaler $(call each,status): status-%:
	@$(DEPLOY_ENV) ops/fly.sh status $*
logs-autoscaler $(call each,logs): logs-%:
	@$(DEPLOY_ENV) ops/fly.sh logs $*
$(call each,scale): scale-%:
	@$(DEPLOY_ENV) ops/fly.sh scale $*
$(call each,rollback): rollback-%:
	@$(DEPLOY_ENV) ops/fly.sh rollback $*
$(call each,ssh): ssh-%:
	@$(DEPLOY_ENV) ops/fly.sh ssh $*

# On a terminal the program becomes the foreground job (bash -m), as with `make run`; when make is ended,
# or the terminal closed, it drains instead of running on alone (--pdeathsig).
# BUILD=DIR: the programs of that folder, nothing is built.
define run_role
$(if $(DRY_RUN)$(BUILD),,@ops/install-deps.sh run && $(MAKE) --no-print-directory -j$(JOBS) CONF=release all)
@if [ -t 0 ] && [ -z '$(DRY_RUN)' ]; then $(DEPLOY_ENV) exec bash -mc 'setpriv --pdeathsig TERM ops/run-role.sh $(1); exit $$?'; \
else $(DEPLOY_ENV) exec ops/run-role.sh $(1); fi
endef
$(call each,run): run-%:
	$(call run_role,$*)
db-migrate:
	$(call run_role,migrate)
# What the program itself says of .env, for one role.
check-config: export role = $(or $(value ROLE),server)
check-config:
	$(call run_role,check "$$role")

docker-up docker-down docker-logs docker-build docker-rebuild docker-probe: docker-%:
	@$(DEPLOY_ENV) ops/docker.sh $*

# Every command of the deployment guide, with recording stand-ins for fly and docker.
deploy-test:
	@tests/deploy/run.sh
# The steps of the Dockerfile, and docs/single-server.md, each in a bare Debian of its own: root,
# debootstrap, the network, minutes.
deploy-test-image:
	@tests/deploy/dockerfile_steps.sh
deploy-test-single:
	@tests/deploy/single_server.sh

# Called at the end of `make help`.
deploy-help:
	@echo 'Roles        make run-server        run-gateway, run-worker: this machine, variables of .env'
	@echo '             make db-migrate        the PostgreSQL schema of .env'
	@echo '             make check-config      ROLE=server: what the program says of .env, before it is run'
	@echo 'Docker       make docker-up         the whole stack here; ends when a message has crossed'
	@echo '             make docker-logs       docker-down, docker-build, docker-rebuild, docker-probe'
	@echo 'Secrets      make secrets-generate  random secrets that .env lacks, never over one'
	@echo '             make secrets-check     every fault of .env by its name (ROLE=server: of one)'
	@echo '             make secrets-all       check .env, give each app its own; -server, -gateway, -worker'
	@echo 'Fly.io       make deploy-all        migrations, gateway, worker, server; -server, -gateway, -worker'
	@echo '             make deploy-autoscaler machines by connections; first make secrets-autoscaler'
	@echo '             make status-all        status-server, -gateway, -worker'
	@echo '             make logs-server       logs-gateway, logs-worker; ssh-server, ...: a shell there'
	@echo '             make scale-server      COUNT=3 SIZE=shared-cpu-2x MEMORY=2048; -gateway, -worker'
	@echo '             make rollback-server   VERSION=41: an earlier release; -gateway, -worker'
	@echo '             DRY_RUN=1              print each command; STAGE=1: secrets wait for the deployment'
	@echo 'Tests        make deploy-test       every command of the guides, with stand-ins for fly and docker'
	@echo '             make deploy-test-image the steps of the Dockerfile in a bare Debian, the roles from it (root)'
	@echo '             make deploy-test-single docs/single-server.md, command by command, the same way (root)'
