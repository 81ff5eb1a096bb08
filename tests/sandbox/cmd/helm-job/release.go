// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"log"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// hashLabel is where helm-controller looks which configuration a release was made from.
const hashLabel = "helmcharts.helm.cattle.io/configHash"

// History is helm's own default.
const history = 10

// last is the release's last revision, or nil.
func last(cfg *action.Configuration, name string) (*release.Release, error) {
	found, err := cfg.Releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, ok := found.(*release.Release)
	if !ok {
		return nil, fmt.Errorf("release %s is of a kind that is not known: %T", name, found)
	}
	return r, nil
}

func revision(r *release.Release) int {
	if r == nil {
		return 0
	}
	return r.Version
}

// install installs or upgrades the release, once. A release that fails has a revision all the same: the next attempt is
// made for that one, so it is helm-controller that makes it, by another job.
func (j job) install(cfg *action.Configuration, in input) error {
	before, err := last(cfg, j.name)
	if err != nil {
		return err
	}
	if revision(before) != j.revision {
		log.Printf("release %s is at revision %d, and this job is for %d: nothing done", j.name, revision(before), j.revision)
		return nil
	}
	if err = j.attempt(cfg, in, before); err == nil || j.policy != "retry" {
		return err
	}
	after, unknown := last(cfg, j.name)
	if unknown != nil || revision(after) == j.revision {
		return err
	}
	log.Printf("%v; left to the next job", err)
	return nil
}

// attempt does what the failure policy has for the release as it is.
func (j job) attempt(cfg *action.Configuration, in input, before *release.Release) error {
	if before == nil {
		return j.create(cfg, in)
	}
	status := before.Info.Status
	if status.IsPending() {
		// Whoever was at it is gone: of one release there is one job. Helm would refuse it for ever.
		before.SetStatus(common.StatusFailed, "interrupted")
		if err := cfg.Releases.Update(before); err != nil {
			return err
		}
	}
	switch {
	case status == common.StatusDeployed || status == common.StatusPendingUpgrade || j.policy == "retry":
		return j.upgrade(cfg, in, before)
	case j.policy == "reinstall":
		log.Printf("release %s is %s: it is uninstalled first", j.name, status)
		if err := j.uninstall(cfg); err != nil {
			return err
		}
		return j.create(cfg, in)
	}
	return fmt.Errorf("release %s is %s, and the failure policy %s: it waits for somebody", j.name, status, j.policy)
}

func (j job) labels() map[string]string { return map[string]string{hashLabel: j.hash} }

func (j job) create(cfg *action.Configuration, in input) error {
	i := action.NewInstall(cfg)
	i.ReleaseName, i.Namespace, i.CreateNamespace = j.name, j.namespace, j.createNamespace
	i.WaitStrategy, i.Timeout, i.Labels, i.TakeOwnership = kube.HookOnlyStrategy, j.timeout, j.labels(), j.takeOwnership
	i.ServerSideApply = j.apply != "false"
	i.ForceConflicts = j.force && i.ServerSideApply
	if _, err := i.Run(in.chart, in.values); err != nil {
		return fmt.Errorf("install of %s: %w", j.name, err)
	}
	log.Printf("release %s is installed", j.name)
	return nil
}

func (j job) upgrade(cfg *action.Configuration, in input, before *release.Release) error {
	u := action.NewUpgrade(cfg)
	u.Namespace, u.MaxHistory = j.namespace, history
	u.WaitStrategy, u.Timeout, u.Labels, u.TakeOwnership = kube.HookOnlyStrategy, j.timeout, j.labels(), j.takeOwnership
	if j.apply != "" {
		u.ServerSideApply = j.apply
	}
	u.ForceConflicts = j.forces(before)
	if _, err := u.Run(j.name, in.chart, in.values); err != nil {
		return fmt.Errorf("upgrade of %s: %w", j.name, err)
	}
	log.Printf("release %s is upgraded to revision %d", j.name, before.Version+1)
	return nil
}

// forces: helm refuses to force what it does not apply server-side, and by itself it goes on as the release was made.
func (j job) forces(before *release.Release) bool {
	switch j.apply {
	case "true":
		return j.force
	case "false":
		return false
	}
	return j.force && before.ApplyMethod == string(release.ApplyMethodServerSideApply)
}

// uninstall takes away a release that may not be there, and waits until its objects are gone.
func (j job) uninstall(cfg *action.Configuration) error {
	u := action.NewUninstall(cfg)
	u.IgnoreNotFound, u.WaitStrategy, u.Timeout = true, kube.StatusWatcherStrategy, j.timeout
	if _, err := u.Run(j.name); err != nil {
		return fmt.Errorf("uninstall of %s: %w", j.name, err)
	}
	log.Printf("release %s is gone", j.name)
	return nil
}
