// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"k3s-ha.core/sandbox/internal/k3s/nodes"
	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const (
	annotationArgs     = "k3s.io/node-args"
	annotationEnv      = "k3s.io/node-env"
	annotationHash     = "k3s.io/node-config-hash"
	annotationHostname = "k3s.io/hostname"
	annotationIP       = "k3s.io/internal-ip"

	resync = 30 * time.Second // routes can be lost with a link
)

// network follows the Nodes: this node's annotations and CNI configuration, the
// routes to the pods of all others (as flannel's host-gw does).
type network struct {
	a       *Agent
	kubelet kubernetes.Interface
	run     func(ctx context.Context, name string, args ...string) error
	routes  map[string]map[netip.Prefix]netip.Addr // node → its pod networks, and the address that leads there
}

func (a *Agent) startNetwork(ctx context.Context) error {
	for _, text := range strings.Split(a.reply.Settings.ClusterCIDR, ",") {
		pods, err := netip.ParsePrefix(text)
		if err == nil {
			err = masquerade(ctx, pods)
		}
		if err != nil {
			return err
		}
	}
	kubelet, err := a.client("kubelet")
	if err != nil {
		return err
	}
	watch, err := a.client("k3scontroller")
	if err != nil {
		return err
	}
	n := &network{a, kubelet, command, map[string]map[netip.Prefix]netip.Addr{}}
	factory := informers.NewSharedInformerFactory(watch, resync)
	informer := factory.Core().V1().Nodes().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.handle(ctx, o, false) },
		UpdateFunc: func(_, o any) { n.handle(ctx, o, false) },
		DeleteFunc: func(o any) { n.handle(ctx, o, true) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	return nil
}

func (a *Agent) client(name string) (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", a.dir(name+".kubeconfig"))
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = "k3s@" + a.c.NodeName
	return kubernetes.NewForConfig(cfg)
}

func (n *network) handle(ctx context.Context, obj any, removed bool) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	node, ok := obj.(*corev1.Node)
	if !ok {
		return
	}
	var err error
	if node.Name == n.a.c.NodeName {
		err = n.own(ctx, node, removed)
	} else {
		err = n.route(ctx, node, removed)
	}
	if err != nil && ctx.Err() == nil {
		n.a.group.Logf("node %s: %v", node.Name, err)
	}
}

func (n *network) own(ctx context.Context, node *corev1.Node, removed bool) error {
	if removed {
		return nil
	}
	if err := n.annotate(ctx, node); err != nil {
		return err
	}
	if len(node.Spec.PodCIDRs) == 0 {
		return nil
	}
	text, err := conflist(node.Spec.PodCIDRs)
	if err != nil {
		return err
	}
	return pki.WriteFile(n.a.etc("cni", "net.d", "10-k3s.conflist"), text, 0o644)
}

func (n *network) annotate(ctx context.Context, node *corev1.Node) error {
	c := n.a.c
	want := map[string]string{
		annotationArgs:     c.NodeArgs,
		annotationEnv:      c.NodeEnv,
		annotationHash:     c.ConfigHash(),
		annotationHostname: c.NodeName,
		annotationIP:       strings.Join(c.NodeIPs, ","),
	}
	same := true
	for k, v := range want {
		same = same && node.Annotations[k] == v
	}
	if same {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": want}})
	if err != nil {
		return err
	}
	_, err = n.kubelet.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// route leads to another node's pods through its address of the same family. New
// routes come before old ones go: what is right already is not away for a moment.
func (n *network) route(ctx context.Context, node *corev1.Node, removed bool) error {
	before, now := n.routes[node.Name], hops(node)
	if removed {
		now = nil
	}
	n.routes[node.Name] = now
	var failed []error
	for pods, via := range now {
		// Also where nothing is new: a route can be lost with a link.
		failed = append(failed, n.ip(ctx, "replace", pods, via))
	}
	for pods, via := range before {
		if _, kept := now[pods]; !kept {
			failed = append(failed, n.ip(ctx, "del", pods, via))
		}
	}
	return errors.Join(failed...)
}

func (n *network) ip(ctx context.Context, verb string, pods netip.Prefix, via netip.Addr) error {
	family := "-4"
	if via.Is6() {
		family = "-6"
	}
	return n.run(ctx, "ip", family, "route", verb, pods.String(), "via", via.String())
}

// hops are a node's pod networks, each with the address of the node that leads there.
// One that is not registered in full yet has none.
func hops(node *corev1.Node) map[netip.Prefix]netip.Addr {
	found := map[netip.Prefix]netip.Addr{}
	for _, cidr := range node.Spec.PodCIDRs {
		for _, address := range nodes.InternalIPs(node) {
			pods, err := netip.ParsePrefix(cidr)
			via, err2 := netip.ParseAddr(address)
			// The API server takes no text that is neither.
			if err == nil && err2 == nil && via.Is4() == pods.Addr().Is4() {
				found[pods] = via
			}
		}
	}
	return found
}

// conflist is the CNI configuration of a node whose pods have an address of each
// of the networks.
func conflist(podCIDRs []string) ([]byte, error) {
	type entry map[string]any
	var ranges [][]entry
	var routes []entry
	for _, cidr := range podCIDRs {
		pods, err := netip.ParsePrefix(cidr)
		if err != nil {
			return nil, err
		}
		everywhere := "0.0.0.0/0"
		if pods.Addr().Is6() {
			everywhere = "::/0"
		}
		ranges = append(ranges, []entry{{"subnet": cidr}})
		routes = append(routes, entry{"dst": everywhere})
	}
	return json.MarshalIndent(entry{
		"name":       "cbr0",
		"cniVersion": "1.0.0",
		"plugins": []entry{
			{
				"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
				"ipam": entry{"type": "host-local", "ranges": ranges, "routes": routes},
			},
			{"type": "portmap", "capabilities": entry{"portMappings": true}},
		},
	}, "", "  ")
}

// masquerade lets pods out of the cluster under their node's address. Between
// pods, and from pods to nodes of the pod network, addresses stay what they are.
func masquerade(ctx context.Context, pods netip.Prefix) error {
	tool, network := "iptables", pods.String()
	if pods.Addr().Is6() {
		tool = "ip6tables"
	}
	for _, rule := range [][]string{
		{"nat", "POSTROUTING", "-s", network, "!", "-d", network, "-m", "comment", "--comment", "k3s pod masquerade", "-j", "MASQUERADE"},
		{"filter", "FORWARD", "-s", network, "-m", "comment", "--comment", "k3s pods", "-j", "ACCEPT"},
		{"filter", "FORWARD", "-d", network, "-m", "comment", "--comment", "k3s pods", "-j", "ACCEPT"},
	} {
		table, chain, match := rule[0], rule[1], rule[2:]
		check := append([]string{"-w", "-t", table, "-C", chain}, match...)
		if exec.CommandContext(ctx, tool, check...).Run() == nil {
			continue
		}
		if err := command(ctx, tool, append([]string{"-w", "-t", table, "-A", chain}, match...)...); err != nil {
			return err
		}
	}
	return nil
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, bytes.TrimSpace(out))
	}
	return nil
}
