// SPDX-License-Identifier: GPL-3.0-or-later

// Package nodes is what a server does about Nodes: the labels of its own, and the
// names of all of them in CoreDNS's NodeHosts.
package nodes

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
)

const (
	controllerName = "k3s-supervisor"
	nodeHostsKey   = "NodeHosts"
	configMapName  = "coredns"

	// RoleControlPlane and RoleEtcd are the labels of a server's Node.
	RoleControlPlane = "node-role.kubernetes.io/control-plane"
	RoleEtcd         = "node-role.kubernetes.io/etcd"
)

// Duties are what one controller does.
type Duties struct {
	Labels, Annotations map[string]string // of the server's own Node
	NodeHosts           bool              // one server does this for all
}

// Controller watches Nodes.
type Controller struct {
	client kubernetes.Interface
	self   string
	duties Duties
	log    func(string, ...any)
}

// New makes the controller of the server called self. Its field manager is
// k3s-supervisor@<self>.
func New(cfg *rest.Config, self string, duties Duties, log func(string, ...any)) (*Controller, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = controllerName + "@" + self
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &Controller{client, self, duties, log}, nil
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	factory := informers.NewSharedInformerFactory(c.client, 0)
	informer := factory.Core().V1().Nodes().Informer()
	handle := func(obj any, removed bool) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		node, ok := obj.(*corev1.Node)
		if !ok {
			return
		}
		if err := c.changed(ctx, node, removed); err != nil && ctx.Err() == nil {
			c.log("node %s: %v", node.Name, err)
		}
	}
	// One informer calls its handlers one after another, so no lock is needed.
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { handle(o, false) },
		UpdateFunc: func(_, o any) { handle(o, false) },
		DeleteFunc: func(o any) { handle(o, true) },
	})
	if err != nil {
		c.log("nodes: %v", err)
		return
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
}

func (c *Controller) changed(ctx context.Context, node *corev1.Node, removed bool) error {
	if node.Name == c.self && !removed && !(has(node.Labels, c.duties.Labels) && has(node.Annotations, c.duties.Annotations)) {
		if err := c.mark(ctx, node.Name); err != nil {
			return err
		}
	}
	if !c.duties.NodeHosts {
		return nil
	}
	addresses := InternalIPs(node)
	if removed {
		addresses = nil
	} else if len(addresses) == 0 {
		return nil // not registered in full yet
	}
	return c.updateNodeHosts(ctx, addresses, node.Name)
}

func has(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

func (c *Controller) mark(ctx context.Context, name string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": c.duties.Labels, "annotations": c.duties.Annotations}})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// updateNodeHosts changes one node's lines. While the ConfigMap is missing there
// is nothing to do, and nothing is remembered: the next event of the node counts.
func (c *Controller) updateNodeHosts(ctx context.Context, addresses []string, name string) error {
	configMaps := c.client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		cm, err := configMaps.Get(ctx, configMapName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		hosts := SetHost(cm.Data[nodeHostsKey], addresses, name)
		if old, ok := cm.Data[nodeHostsKey]; ok && old == hosts {
			return nil
		}
		if cm.Data == nil {
			cm.Data = map[string]string{}
		}
		cm.Data[nodeHostsKey] = hosts
		_, err = configMaps.Update(ctx, cm, metav1.UpdateOptions{})
		return err
	})
}

// SetHost sets a node's "address name" lines, one for each address; lines are in
// the order of the names. Without addresses the node is removed.
func SetHost(hosts string, addresses []string, name string) string {
	byName := map[string][]string{}
	for _, line := range strings.Split(hosts, "\n") {
		if f := strings.Fields(line); len(f) == 2 {
			byName[f[1]] = append(byName[f[1]], f[0])
		}
	}
	byName[name] = addresses
	var out strings.Builder
	for _, n := range slices.Sorted(maps.Keys(byName)) {
		for _, address := range byName[n] {
			out.WriteString(address + " " + n + "\n")
		}
	}
	return out.String()
}

// InternalIPs are the internal addresses of a node: one, or one of each family.
func InternalIPs(node *corev1.Node) []string {
	var list []string
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			list = append(list, a.Address)
		}
	}
	return list
}
