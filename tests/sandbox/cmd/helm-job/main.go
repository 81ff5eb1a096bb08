// SPDX-License-Identifier: GPL-3.0-or-later

// Command helm-job is what helm-controller's jobs run in the sandbox. It keeps the contract of k3s-io/klipper-helm:
// what to do is told by the environment, the arguments and the files below /config and /chart.
package main

import (
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"
)

const (
	home           = "/home/klipper-helm" // where the job's writable volumes are
	configDir      = "/config"
	chartDir       = "/chart"
	terminationLog = "/dev/termination-log"
)

func main() {
	// A release that is interrupted stays pending; the kubelet's patience ends it in any case.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	// What the pod's status shows in the end. There is none when this is not run by a kubelet.
	if f, err := os.OpenFile(terminationLog, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		log.SetOutput(io.MultiWriter(os.Stderr, f))
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	j, err := parse(os.Args[1:], os.Getenv)
	if err != nil {
		return err
	}
	if err := os.Setenv("HOME", home); err != nil {
		return err
	}
	kube.ManagedFieldsManager = "helm" // and not this program's name
	settings := cli.New()
	settings.SetNamespace(j.namespace)
	cfg := action.NewConfiguration()
	if err := cfg.Init(settings.RESTClientGetter(), j.namespace, os.Getenv("HELM_DRIVER")); err != nil {
		return err
	}
	if j.remove {
		return j.uninstall(cfg)
	}
	in, err := j.input(settings, configDir, chartDir)
	if err != nil {
		return err
	}
	return j.install(cfg, in)
}
