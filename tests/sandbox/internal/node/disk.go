// SPDX-License-Identifier: GPL-3.0-or-later

package node

import (
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"k3s-ha.core/sandbox/internal/k3s/scripts"
	"k3s-ha.core/sandbox/internal/state"
	"k3s-ha.core/sandbox/internal/topology"
)

//go:embed files
var files embed.FS

// Machine is what the nodes must know of the machine they are on.
type Machine struct {
	CgroupVersion int
}

// Keys are the cluster's ssh keys, in OpenSSH's formats.
type Keys struct {
	HostPrivate, HostPublic []byte
	Authorized              []byte
}

// Prepare writes a node's disk: what an installer and k3s-ansible would have left on a machine.
func Prepare(c *state.Cluster, n state.Node, m Machine, keys Keys) error {
	dir := c.NodeDir(n)
	for _, d := range []string{upperDir, workDir, rootDir, rancherDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	d := disk{root: filepath.Join(dir, upperDir)}
	d.file("etc/hostname", 0o644, []byte(n.Name+"\n"))
	d.file("etc/hosts", 0o644, []byte(hosts(c)))
	d.file("etc/machine-id", 0o444, machineID())
	d.file("etc/ssh/ssh_host_ed25519_key", 0o600, keys.HostPrivate)
	d.file("etc/ssh/ssh_host_ed25519_key.pub", 0o644, keys.HostPublic)
	d.dir("root", 0o700)
	d.dir("root/.ssh", 0o700)
	d.file("root/.ssh/authorized_keys", 0o600, keys.Authorized)

	d.embedded("usr/local/lib/sandbox/node-setup", 0o755, "node-setup", nil)
	d.unit("sandbox-node.service", "sandbox-node.service", nil)

	service := Service(n)
	d.unit(service+".service", "k3s.service", strings.NewReplacer("@ROLE@", string(n.Role)))
	d.link("usr/local/bin/k3s", "/opt/k3s/bin/k3s")
	for _, name := range []string{"kubectl", "ctr", "crictl"} {
		d.link("usr/local/bin/"+name, "k3s")
	}
	d.file("usr/local/bin/k3s-killall.sh", 0o755, scripts.Killall)
	d.file("usr/local/bin/"+service+"-uninstall.sh", 0o755, scripts.Uninstall)
	d.yaml("etc/rancher/k3s/config.yaml", config(c, n))
	d.yaml("etc/rancher/k3s/config.yaml.d/10-sandbox.yaml", machineConfig(n, m))
	if n.Role == topology.Server {
		if len(c.ServerArgs) > 0 {
			d.yaml("etc/rancher/k3s/config.yaml.d/20-server.yaml", serverConfig(c.ServerArgs))
		}
		if !c.Traefik {
			d.yaml("etc/rancher/k3s/config.yaml.d/30-packaged.yaml", withoutTraefik)
		}
		d.embedded("etc/rancher/k3s/audit-policy.yaml", 0o600, "audit-policy.yaml", nil)
	}
	if d.err != nil {
		return d.err
	}
	return Install(c, n, c.Bundle, "")
}

// Service is the name of k3s's unit on a node.
func Service(n state.Node) string {
	if n.Role == topology.Agent {
		return "k3s-agent"
	}
	return "k3s"
}

// config is config.yaml as k3s-ansible writes it.
func config(c *state.Cluster, n state.Node) map[string]any {
	v := map[string]any{"token": c.Token, "node-ip": n.Address}
	if n.IPv6 != "" {
		v["node-ip"] = n.Address + "," + n.IPv6
	}
	first := c.Server()
	if n.Role == topology.Server {
		v["tls-san"] = []string{first.Address}
	}
	switch {
	case n.Name != first.Name:
		v["server"] = "https://" + first.Address + ":6443"
	case c.Servers() > 1:
		v["cluster-init"] = true
	}
	if c.Fleet > 0 {
		// A pod network for each node of a fleet: k3s's own range has 256.
		v["cluster-cidr"] = topology.FleetPods
	}
	if n.Zone != "" {
		v["node-label"] = []string{"topology.kubernetes.io/zone=" + n.Zone}
	}
	return v
}

// machineConfig holds what this kind of machine needs, and the audit log.
func machineConfig(n state.Node, m Machine) map[string]any {
	v := map[string]any{
		// The limit on connections is the machine's, and the nodes may not set it.
		"kube-proxy-arg+": []string{"conntrack-max-per-core=0"},
	}
	// The disk is the machine's, and an image that a kubelet removes because that is full cannot be pulled again.
	kubelet := []string{"image-gc-high-threshold=100"}
	if m.CgroupVersion == 1 {
		kubelet = append(kubelet, "fail-cgroupv1=false")
	}
	v["kubelet-arg+"] = kubelet
	if n.Role == topology.Server {
		v["kube-apiserver-arg+"] = []string{
			"audit-log-path=/var/lib/rancher/k3s/server/logs/audit.log",
			"audit-policy-file=/etc/rancher/k3s/audit-policy.yaml",
		}
	}
	return v
}

// serverConfig holds what up was told for the servers.
func serverConfig(args []string) map[string][]string {
	v := map[string][]string{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		v[key] = append(v[key], value)
	}
	return v
}

// withoutTraefik is for clusters that have no use for it: it takes time to start. The last of the files, so that no
// other setting of disable brings it back.
var withoutTraefik = map[string]any{"disable+": []string{"traefik"}, "disable-helm-controller": true}

func hosts(c *state.Cluster) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
	for _, n := range c.Nodes {
		fmt.Fprintf(&b, "%s %s\n", n.Address, n.Name)
	}
	return b.String()
}

func machineID() []byte {
	var id [16]byte
	rand.Read(id[:])
	return []byte(hex.EncodeToString(id[:]) + "\n")
}

// disk writes files below a root; after the first failure it does nothing more.
type disk struct {
	root string
	err  error
}

func (d *disk) dir(path string, mode os.FileMode) {
	if d.err == nil {
		d.err = os.MkdirAll(filepath.Join(d.root, path), mode)
	}
}

func (d *disk) file(path string, mode os.FileMode, content []byte) {
	d.dir(filepath.Dir(path), 0o755)
	if d.err == nil {
		d.err = os.WriteFile(filepath.Join(d.root, path), content, mode)
	}
}

func (d *disk) embedded(path string, mode os.FileMode, name string, r *strings.Replacer) {
	b, err := files.ReadFile("files/" + name)
	if d.err == nil {
		d.err = err
	}
	text := string(b)
	if r != nil {
		text = r.Replace(text)
	}
	d.file(path, mode, []byte(text))
}

func (d *disk) unit(name, source string, r *strings.Replacer) {
	d.embedded("etc/systemd/system/"+name, 0o644, source, r)
	d.link("etc/systemd/system/multi-user.target.wants/"+name, "/etc/systemd/system/"+name)
}

func (d *disk) link(path, target string) {
	d.dir(filepath.Dir(path), 0o755)
	if d.err == nil {
		d.err = os.Symlink(target, filepath.Join(d.root, path))
	}
}

func (d *disk) yaml(path string, value any) {
	b, err := yaml.Marshal(value)
	if d.err == nil {
		d.err = err
	}
	d.file(path, 0o600, b)
}
