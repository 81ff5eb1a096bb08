// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"
	"testing"
	"time"

	"k3s-ha.core/sandbox/internal/failure"
)

func TestParse(t *testing.T) {
	t.Setenv("SANDBOX_NAME", "")
	r, err := parse([]string{"--name=a", "up", "small", "--version", "v1.35", "--timeout", "90"})
	if err != nil || r.name != "a" || r.verb != "up" || !slices.Equal(r.args, []string{"small"}) || r.version != "1.35" || r.timeout != 90*time.Second {
		t.Errorf("%+v %v", r, err)
	}
	r, err = parse([]string{"up", "small", "--server-arg", "service-cidr=10.50.0.0/16", "--server-arg=kube-apiserver-arg+=v=4"})
	if err != nil || !slices.Equal(r.server, []string{"service-cidr=10.50.0.0/16", "kube-apiserver-arg+=v=4"}) {
		t.Errorf("%+v %v", r, err)
	}
	r, err = parse([]string{"up", "--traefik", "small"})
	if err != nil || !r.traefik || !slices.Equal(r.args, []string{"small"}) {
		t.Errorf("%+v %v", r, err)
	}
	// What follows belongs to the other program, options and all.
	r, err = parse([]string{"exec", "agent-1", "--name", "x"})
	if err != nil || r.name != "k3s" || !slices.Equal(r.args, []string{"agent-1", "--name", "x"}) {
		t.Errorf("%+v %v", r, err)
	}
	for _, bad := range [][]string{{"--nme", "x"}, {"up", "small", "--timeout", "soon"}, {"up", "small", "--server-arg", "disable-agent"}, {"--name"}, {"--name", "A/B", "down"}} {
		if _, err := parse(bad); failure.Exit(err) != failure.Usage {
			t.Errorf("%v: %v", bad, err)
		}
	}
	t.Setenv("SANDBOX_NAME", "from-environment")
	if r, err = parse([]string{"down"}); err != nil || r.name != "from-environment" {
		t.Errorf("%+v %v", r, err)
	}
	for _, bad := range [][]string{{}, {"fly"}, {"up"}, {"kill"}, {"status", "x"}} {
		if err := run(append([]string{"--name", "no-such-cluster"}, bad...)); failure.Exit(err) != failure.Usage && failure.Exit(err) != failure.Absent {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
