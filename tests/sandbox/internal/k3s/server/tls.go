// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/etcd"
	"k3s-ha.core/sandbox/internal/k3s/pki"
)

// sharedFiles are those below the tls directory that all servers of a cluster
// have alike. The token travels with the configuration.
func sharedFiles() []string {
	files := []string{"service.key"}
	for _, ca := range []string{"server-ca", "client-ca", "request-header-ca", etcd.ServerCA, etcd.PeerCA} {
		files = append(files, ca+".crt", ca+".key")
	}
	return files
}

// identity is the server's PKI and token, below <data-dir>/server.
type identity struct {
	dir      string // <data-dir>/server/tls
	serverCA *pki.Authority
	clientCA *pki.Authority
	token    pki.Token
}

// localAPI is where the server's own components find the apiserver.
const localAPI = "https://127.0.0.1:" + config.APIPort

// loadIdentity reads the PKI, or makes it at the first start.
func loadIdentity(c *config.Config) (*identity, error) {
	id := &identity{dir: c.Dir("server", "tls")}
	var err error
	if id.serverCA, err = pki.LoadAuthority(id.dir, "server-ca"); err != nil {
		return nil, err
	}
	if id.clientCA, err = pki.LoadAuthority(id.dir, "client-ca"); err != nil {
		return nil, err
	}
	proxyCA, err := pki.LoadAuthority(id.dir, "request-header-ca")
	if err != nil {
		return nil, err
	}
	if _, err := pki.LoadKey(id.file("service.key")); err != nil {
		return nil, err
	}
	names := slices.Concat([]string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + c.ClusterDomain,
		"localhost", c.NodeName, "127.0.0.1", c.Ranges.Kubernetes().String(),
	}, c.NodeIPs, c.TLSSANs)
	for _, cert := range []struct {
		authority *pki.Authority
		name      string
		subject   pki.Subject
	}{
		{id.serverCA, "serving-kube-apiserver", pki.Subject{Name: "kube-apiserver", SANs: names}},
		{id.serverCA, "serving-supervisor", pki.Subject{Name: "k3s-supervisor", SANs: names}},
		{id.clientCA, "client-admin", pki.Subject{Name: "system:admin", Groups: []string{"system:masters"}}},
		{id.clientCA, "client-supervisor", pki.Subject{Name: "system:k3s-supervisor", Groups: []string{"system:masters"}}},
		{id.clientCA, "client-kube-apiserver", pki.Subject{Name: "kube-apiserver"}},
		{id.clientCA, "client-controller", pki.Subject{Name: "system:kube-controller-manager"}},
		{id.clientCA, "client-scheduler", pki.Subject{Name: "system:kube-scheduler"}},
		{proxyCA, "client-auth-proxy", pki.Subject{Name: "system:auth-proxy"}},
	} {
		if err := cert.authority.Issue(id.dir, cert.name, cert.subject); err != nil {
			return nil, err
		}
	}
	return id, id.loadToken(c)
}

func (id *identity) file(name string) string { return filepath.Join(id.dir, name) }

// loadToken takes the configured secret, or the one on disk, or makes one.
func (id *identity) loadToken(c *config.Config) error {
	file := c.Dir("server", "token")
	text := c.Token
	if text == "" {
		data, err := os.ReadFile(file)
		switch {
		case err == nil:
			text = string(data)
		case os.IsNotExist(err):
			text = pki.NewSecret()
		default:
			return err
		}
	}
	token, err := pki.ParseToken(text)
	if err != nil {
		return err
	}
	if err := token.CheckCA(id.serverCA.PEM); err != nil {
		return err
	}
	id.token = token
	full := pki.FullToken(id.serverCA.PEM, token.Secret) + "\n"
	if err := pki.WriteFile(file, []byte(full), 0o600); err != nil {
		return err
	}
	node := c.Dir("server", "node-token")
	if target, err := os.Readlink(node); err == nil && target == file {
		return nil
	}
	if err := os.RemoveAll(node); err != nil {
		return err
	}
	return os.Symlink(file, node)
}

// writeKubeconfigs makes the components' and the operator's client configuration.
func (id *identity) writeKubeconfigs(c *config.Config) error {
	for name, cert := range map[string]string{
		"admin": "client-admin", "supervisor": "client-supervisor",
		"controller": "client-controller", "scheduler": "client-scheduler",
	} {
		if err := id.kubeconfig(cert, localAPI, false).Write(c.Dir("server", "cred", name+".kubeconfig"), 0o600); err != nil {
			return err
		}
	}
	if err := id.kubeconfig("client-admin", localAPI, true).Write(c.Kubeconfig, c.KubeconfigMode); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}

func (id *identity) kubeconfig(cert, url string, embed bool) pki.Kubeconfig {
	return pki.Kubeconfig{
		Server: url, CAFile: id.file("server-ca.crt"),
		CertFile: id.file(cert + ".crt"), KeyFile: id.file(cert + ".key"), Embed: embed,
	}
}
