// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"k3s-ha.core/sandbox/internal/api"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/progress"
	"k3s-ha.core/sandbox/internal/state"
)

//go:embed files/kwok.yaml
var kwokConfig []byte

const (
	fleetAnnotation = "kwok.x-k8s.io/node"
	fleetWorkers    = 8
)

// startFleet registers the fleet's nodes and starts the program that plays their kubelets. It runs in the cluster's
// network, and down ends all that does.
func startFleet(c *state.Cluster, patience time.Duration) error {
	progress.Step("start the kubelets of %d nodes that exist for the API server alone", c.Fleet)
	if err := startKwok(c); err != nil {
		return err
	}
	client, err := api.New(c.Netns, c.Path("kubeconfig"), c.Server().Address, api.Patience)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := registerFleet(c, client); err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for ; ; time.Sleep(500 * time.Millisecond) {
		ready, err := client.ReadyNodes()
		count := fleetReady(c, ready)
		if count == c.Fleet {
			progress.Step("all %d nodes of the fleet are Ready", c.Fleet)
			return nil
		}
		if time.Now().After(deadline) {
			return failure.New(failure.NotReady, "%d of the fleet's %d nodes are Ready after %v (last error: %v); see %s", count, c.Fleet, patience, err, c.Path("kwok.log"))
		}
	}
}

func fleetReady(c *state.Cluster, ready map[string]bool) int {
	count := 0
	for i := 1; i <= c.Fleet; i++ {
		if ready[fleetNode(i)] {
			count++
		}
	}
	return count
}

func fleetNode(i int) string { return fmt.Sprintf("fleet-%05d", i) }

func startKwok(c *state.Cluster) error {
	if err := state.WriteFile(c.Path("kwok.yaml"), kwokConfig, 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(c.Path("kwok.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.Path("sandbox"), "--in", c.Dir, "net", c.Kwok,
		"--config="+c.Path("kwok.yaml"), "--kubeconfig="+c.Path("kubeconfig"), "--manage-all-nodes=false",
		"--manage-nodes-with-annotation-selector="+fleetAnnotation+"=fake",
		"--node-lease-duration-seconds=40", "--v=WARN")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + c.Dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

func registerFleet(c *state.Cluster, client *api.Client) error {
	numbers := make(chan int)
	failed := make([]error, fleetWorkers)
	var wait sync.WaitGroup
	for w := range fleetWorkers {
		wait.Go(func() {
			for i := range numbers {
				if failed[w] == nil {
					failed[w] = client.Create("/api/v1/nodes", fleetObject(i))
				}
			}
		})
	}
	for i := 1; i <= c.Fleet; i++ {
		numbers <- i
	}
	close(numbers)
	wait.Wait()
	return errors.Join(failed...)
}

// fleetObject has no internal address: no real node would find a route to its pods.
func fleetObject(i int) map[string]any {
	name := fleetNode(i)
	capacity := map[string]string{"cpu": "4", "memory": "8Gi", "pods": "110"}
	return map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{
			"name":        name,
			"annotations": map[string]string{fleetAnnotation: "fake"},
			"labels": map[string]string{
				"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "type": "kwok",
			},
		},
		"status": map[string]any{
			"capacity": capacity, "allocatable": capacity,
			"addresses": []map[string]string{{"type": "Hostname", "address": name}},
			"nodeInfo":  map[string]string{"kubeletVersion": "kwok", "operatingSystem": "linux", "architecture": "amd64"},
		},
	}
}
