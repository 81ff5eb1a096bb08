// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"time"

	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/join"
	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const serversPeriod = 15 * time.Second

func (a *Agent) serversFile() string { return a.etc("servers.json") }

func (a *Agent) saveServers(servers []string) error {
	data, err := json.Marshal(servers)
	if err != nil {
		return err
	}
	return pki.WriteFile(a.serversFile(), data, 0o644)
}

// savedSupervisors are the supervisors beside the apiservers of the last run.
func (a *Agent) savedSupervisors() ([]string, error) {
	data, err := os.ReadFile(a.serversFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var servers []string
	if err := json.Unmarshal(data, &servers); err != nil {
		return nil, err
	}
	return supervisors(servers)
}

func supervisors(apiservers []string) ([]string, error) {
	var out []string
	for _, s := range apiservers {
		host, _, err := net.SplitHostPort(s)
		if err != nil {
			return nil, err
		}
		out = append(out, net.JoinHostPort(host, strconv.Itoa(config.SupervisorPort)))
	}
	return out, nil
}

// watchServers keeps the load balancer's list in step with the cluster, asking
// whichever server answers.
func (a *Agent) watchServers(ctx context.Context) {
	tick := time.NewTicker(serversPeriod)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := a.refreshServers(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			a.group.Logf("list of servers: %v", err)
		}
		failing = err != nil
	}
}

func (a *Agent) refreshServers(ctx context.Context) error {
	known, err := supervisors(a.balance.Servers())
	if err != nil {
		return err
	}
	var failed []error
	for _, s := range known {
		client, err := join.Dial(ctx, s, a.token)
		if err == nil {
			var servers []string
			if servers, err = client.Servers(ctx); err == nil {
				a.balance.Set(servers)
				return a.saveServers(servers)
			}
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
