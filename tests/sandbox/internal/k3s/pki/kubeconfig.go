// SPDX-License-Identifier: GPL-3.0-or-later

package pki

import (
	"encoding/base64"
	"fmt"
	"os"
)

// Kubeconfig names everything that a client configuration needs.
type Kubeconfig struct {
	Server   string
	CAFile   string
	CertFile string
	KeyFile  string
	Embed    bool // carry the data itself, as k3s.yaml does, not the file names
}

// Write renders the configuration in the shape of k3s's own files.
func (k Kubeconfig) Write(file string, mode os.FileMode) error {
	ca, cert, key := "certificate-authority: "+k.CAFile, "client-certificate: "+k.CertFile, "client-key: "+k.KeyFile
	if k.Embed {
		for _, f := range []struct {
			line  *string
			field string
			name  string
		}{
			{&ca, "certificate-authority-data", k.CAFile},
			{&cert, "client-certificate-data", k.CertFile},
			{&key, "client-key-data", k.KeyFile},
		} {
			data, err := os.ReadFile(f.name)
			if err != nil {
				return err
			}
			*f.line = f.field + ": " + base64.StdEncoding.EncodeToString(data)
		}
	}
	return WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: default
  cluster:
    server: %s
    %s
users:
- name: default
  user:
    %s
    %s
contexts:
- name: default
  context:
    cluster: default
    user: default
current-context: default
preferences: {}
`, k.Server, ca, cert, key), mode)
}
