// SPDX-License-Identifier: GPL-3.0-or-later

package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const secret = "s3cret"

// supervisor serves the join endpoint on loopback.
func supervisor(t *testing.T, more ...func(*Handler)) (address string, ca *pki.Authority) {
	t.Helper()
	dir := t.TempDir()
	authority := func(name string) *pki.Authority {
		a, err := pki.LoadAuthority(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	server, client := authority("server-ca"), authority("client-ca")
	if err := server.Issue(dir, "serving", pki.Subject{Name: "s", SANs: []string{"127.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "serving.crt"), filepath.Join(dir, "serving.key"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := pki.ParseToken(secret)
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{
		Token: token, ServerCA: server, ClientCA: client,
		Settings: Settings{ClusterDNS: "10.43.0.10"},
		Servers:  func() []string { return []string{"192.0.2.1:6443"} },
	}
	for _, m := range more {
		m(h)
	}
	s := httptest.NewUnstartedServer(h.Routes())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), server
}

func dial(t *testing.T, address, token string) (*Client, error) {
	t.Helper()
	parsed, err := pki.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	return Dial(context.Background(), address, parsed)
}

func request(t *testing.T) Request {
	t.Helper()
	r := Request{Name: "agent-1", IP: "192.0.2.21", Keys: map[string][]byte{}}
	for _, p := range Purposes {
		key, err := pki.LoadKey(filepath.Join(t.TempDir(), "key"))
		if err != nil {
			t.Fatal(err)
		}
		if r.Keys[p], err = pki.EncodePublic(key.Public()); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestNodeGetsItsCertificates(t *testing.T) {
	address, ca := supervisor(t)
	for _, token := range []string{secret, pki.FullToken(ca.PEM, secret)} {
		c, err := dial(t, address, token)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := c.Node(context.Background(), request(t))
		if err != nil {
			t.Fatal(err)
		}
		for purpose, want := range map[string]string{
			ServingKubelet: "agent-1", ClientKubelet: "system:node:agent-1",
			ClientProxy: "system:kube-proxy", ClientAgent: "system:k3s-controller",
		} {
			block, _ := pem.Decode(reply.Certs[purpose])
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if cert.Subject.CommonName != want {
				t.Errorf("%s: subject %s", purpose, cert.Subject)
			}
			if purpose == ServingKubelet && !cert.IPAddresses[1].Equal(net.ParseIP("192.0.2.21")) {
				t.Errorf("serving certificate for %v", cert.IPAddresses)
			}
		}
		if reply.Settings.ClusterDNS != "10.43.0.10" || len(reply.Servers) != 1 {
			t.Errorf("settings %+v, servers %v", reply.Settings, reply.Servers)
		}
		servers, err := c.Servers(context.Background())
		if err != nil || len(servers) != 1 || servers[0] != "192.0.2.1:6443" {
			t.Errorf("servers %v: %v", servers, err)
		}
	}
}

func TestServerGetsWhatServersShare(t *testing.T) {
	asked := 0
	address, _ := supervisor(t, func(h *Handler) {
		h.Shared = func() (map[string][]byte, error) { return map[string][]byte{"server-ca.key": []byte("key")}, nil }
		h.Admit = func(_ context.Context, m Member) (Place, error) {
			if asked++; asked == 1 {
				return Place{}, fmt.Errorf("%w: another one is joining", ErrNotYet)
			}
			return Place{InitialCluster: m.Name + "=" + m.PeerURL}, nil
		}
	})
	ctx := context.Background()
	c, err := dial(t, address, secret)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := c.Bootstrap(ctx)
	if err != nil || string(shared.Files["server-ca.key"]) != "key" || shared.Settings.ClusterDNS != "10.43.0.10" {
		t.Errorf("%+v, %v", shared, err)
	}
	if _, err := c.Member(ctx, Member{"a", "u"}); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("not yet is no refusal: %v", err)
	}
	if initial, err := c.Member(ctx, Member{"a", "u"}); err != nil || initial != "a=u" {
		t.Errorf("%s, %v", initial, err)
	}
	wrong, err := dial(t, address, "wrong")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Bootstrap(ctx); !errors.Is(err, ErrRefused) {
		t.Errorf("the keys of the cluster for any token: %v", err)
	}
}

func TestServerOverSQLiteAdmitsNoOther(t *testing.T) {
	address, _ := supervisor(t)
	c, err := dial(t, address, secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Member(context.Background(), Member{"a", "u"}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "cluster-init") {
		t.Errorf("got %v", err)
	}
}

func TestWrongTokenIsRefusedForGood(t *testing.T) {
	address, _ := supervisor(t)
	c, err := dial(t, address, "wrong")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Node(context.Background(), request(t)); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v", err)
	}
	if _, err := c.Servers(context.Background()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestServerWithAnotherCAIsRefused(t *testing.T) {
	address, _ := supervisor(t)
	if _, err := dial(t, address, pki.FullToken([]byte("another CA"), secret)); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestCertificatesForOtherPurposesAreRefused(t *testing.T) {
	address, _ := supervisor(t)
	c, err := dial(t, address, secret)
	if err != nil {
		t.Fatal(err)
	}
	r := request(t)
	r.Keys["system:masters"] = r.Keys[ClientProxy]
	if _, err := c.Node(context.Background(), r); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestNoServerIsWorthWaitingFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, address, secret); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}
