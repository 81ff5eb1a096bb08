// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"slices"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"

	"k3s-ha.core/sandbox/internal/k3s/config"
)

func TestServersThatNodesAreTold(t *testing.T) {
	c := &config.Config{NodeIP: "192.0.2.12", Server: "192.0.2.11:9345"}
	var s servers
	if got := s.with(c); !slices.Equal(got, []string{"192.0.2.12:6443", "192.0.2.11:6443"}) {
		t.Errorf("before any is known: %v", got)
	}
	port := int32(6443)
	known := addresses([]any{&discoveryv1.EndpointSlice{
		Ports:     []discoveryv1.EndpointPort{{Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.13"}}, {Addresses: []string{"192.0.2.12"}}},
	}, &discoveryv1.EndpointSlice{}})
	s.list.Store(&known)
	if got := s.with(c); !slices.Equal(got, []string{"192.0.2.12:6443", "192.0.2.13:6443"}) {
		t.Errorf("own first, then the living: %v", got)
	}
	if got := new(servers).with(&config.Config{NodeIP: "192.0.2.11"}); !slices.Equal(got, []string{"192.0.2.11:6443"}) {
		t.Errorf("one server: %v", got)
	}
}

func TestSharedFilesHoldEveryAuthority(t *testing.T) {
	files := sharedFiles()
	for _, want := range []string{"service.key", "server-ca.key", "client-ca.crt", "request-header-ca.key", "etcd/server-ca.key", "etcd/peer-ca.crt"} {
		if !slices.Contains(files, want) {
			t.Errorf("no %s in %v", want, files)
		}
	}
	if len(files) != 11 {
		t.Errorf("%d files", len(files))
	}
}
