// SPDX-License-Identifier: GPL-3.0-or-later

// Package deploy stages the packaged manifests and keeps the cluster in step
// with the manifests directory, as k3s's own deploy controller does.
package deploy

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"k3s-ha.core/sandbox/internal/ranges"
	"k3s-ha.core/sandbox/versions"
)

//go:embed manifests
var packaged embed.FS

// Values fill the placeholders of the packaged manifests.
type Values struct {
	ClusterDNS       []netip.Addr // one, or one of each family
	ClusterDomain    string
	LocalStoragePath string
}

// table holds k3s's own placeholders, the versions that k3s's manifests carry in
// plain (the sandbox builds several releases from one set of manifests), and the
// charts, which k3s has as files beside its API.
func (v Values) table() (map[string]string, error) {
	release := versions.Current()
	policy := "SingleStack"
	if len(v.ClusterDNS) > 1 {
		policy = "RequireDualStack"
	}
	traefik, err := chartContent("traefik")
	if err != nil {
		return nil, err
	}
	crd, err := chartContent("traefik-crd")
	if err != nil {
		return nil, err
	}
	repository, tag, _ := strings.Cut(strings.TrimPrefix(release.TraefikImage(), "docker.io/"), ":")
	return map[string]string{
		"COREDNS_VERSION":            release.CoreDNS,
		"LOCAL_PATH_VERSION":         release.LocalPath,
		"METRICS_SERVER_VERSION":     release.MetricsServer,
		"CLUSTER_DNS":                v.ClusterDNS[0].String(),
		"CLUSTER_DNS_LIST":           "[" + ranges.Join(v.ClusterDNS) + "]",
		"CLUSTER_DNS_IPFAMILYPOLICY": policy,
		"CLUSTER_DOMAIN":             v.ClusterDomain,
		"DEFAULT_LOCAL_STORAGE_PATH": v.LocalStoragePath,
		"PREFERRED_ADDRESS_TYPES":    "InternalIP,ExternalIP,Hostname",
		"SYSTEM_DEFAULT_REGISTRY":    "",
		"TRAEFIK_CHART":              traefik,
		"TRAEFIK_CRD_CHART":          crd,
		"TRAEFIK_REPOSITORY":         repository,
		"TRAEFIK_TAG":                tag,
	}, nil
}

var placeholder = regexp.MustCompile(`%\{([A-Z_]+)\}%`)

// Stage writes every packaged manifest, filled in, below dir: also those that
// are disabled (the deploy loop deletes these again) or skipped. Edits of the
// staged files do not outlive it.
func Stage(dir string, v Values) error {
	return stage(packaged, "manifests", dir, v)
}

func stage(source fs.FS, root, dir string, v Values) error {
	table, err := v.table()
	if err != nil {
		return err
	}
	return fs.WalkDir(source, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		text, err := fill(string(data), table)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		target := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(name, root+"/")))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		return os.WriteFile(target, []byte(text), 0o600)
	})
}

// Overlay writes the manifests of another directory over the staged ones, as if
// this release had brought them. No such directory is nothing to do.
func Overlay(dir, from string, v Values) error {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return stage(os.DirFS(from), ".", dir, v)
}

func fill(text string, table map[string]string) (string, error) {
	var unknown error
	out := placeholder.ReplaceAllStringFunc(text, func(m string) string {
		key := placeholder.FindStringSubmatch(m)[1]
		value, ok := table[key]
		if !ok {
			unknown = fmt.Errorf("no value for %s", m)
		}
		return value
	})
	return out, unknown
}
