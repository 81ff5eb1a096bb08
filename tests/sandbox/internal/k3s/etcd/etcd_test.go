// SPDX-License-Identifier: GPL-3.0-or-later

package etcd

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/k3s/config"
)

func testEtcd(t *testing.T) *Etcd {
	t.Helper()
	c := &config.Config{DataDir: t.TempDir(), NodeName: "server-2", NodeIP: "192.0.2.12"}
	e, err := New(c, c.Dir("server", "tls"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestNameIsKept(t *testing.T) {
	e := testEtcd(t)
	again, err := New(e.c, e.c.Dir("server", "tls"))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name() != again.Name() || nodeName(e.Name()) != "server-2" || e.Name() == "server-2" {
		t.Errorf("%s, then %s, of node %s", e.Name(), again.Name(), nodeName(e.Name()))
	}
}

func TestArguments(t *testing.T) {
	e := testEtcd(t)
	first := strings.Join(e.Arguments(""), "\n")
	for _, want := range []string{
		"--election-timeout=5000", "--heartbeat-interval=500", "--initial-cluster-state=new",
		"--initial-cluster=" + e.Name() + "=https://192.0.2.12:2380", "--client-cert-auth=true", "--peer-client-cert-auth=true",
	} {
		if !strings.Contains(first+"\n", want+"\n") {
			t.Errorf("no %s in\n%s", want, first)
		}
	}
	if later := e.Arguments("a=https://192.0.2.11:2380"); !slices.Contains(later, "--initial-cluster-state=existing") {
		t.Errorf("%q", later)
	}
}

func TestInitialized(t *testing.T) {
	e := testEtcd(t)
	if yes, err := Initialized(e.c); yes || err != nil {
		t.Errorf("before: %t, %v", yes, err)
	}
	if err := os.MkdirAll(filepath.Join(DataDir(e.c), "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if yes, err := Initialized(e.c); !yes || err != nil {
		t.Errorf("after: %t, %v", yes, err)
	}
}

func TestPlace(t *testing.T) {
	const url, name = "https://192.0.2.12:2380", "server-2-01234567"
	other := Member{Name: "server-1-01234567", PeerURLs: []string{"https://192.0.2.11:2380"}}
	for what, row := range map[string]struct {
		members []Member
		known   bool
		err     error
	}{
		"a new one":                          {[]Member{other}, false, nil},
		"admitted, not started":              {[]Member{other, {PeerURLs: []string{url}}}, true, nil},
		"started":                            {[]Member{other, {Name: name, PeerURLs: []string{url}}}, true, nil},
		"its node was set up anew meanwhile": {[]Member{other, {Name: "server-2-89abcdef", PeerURLs: []string{url}}}, false, ErrTaken},
	} {
		known, err := place(row.members, name, url)
		if known != row.known || !errors.Is(err, row.err) {
			t.Errorf("%s: %t, %v", what, known, err)
		}
	}
	got := initial([]Member{{PeerURLs: []string{url}}, other}, name, url)
	if want := "server-1-01234567=https://192.0.2.11:2380," + name + "=" + url; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// gateway plays etcd's for one call.
func gateway(t *testing.T, status int, answer string) (*Client, *string) {
	t.Helper()
	asked := new(string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*asked = r.Method + " " + r.URL.Path + " " + string(body)
		w.WriteHeader(status)
		if _, err := io.WriteString(w, answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return &Client{s.URL, s.Client()}, asked
}

func TestClient(t *testing.T) {
	ctx := context.Background()
	c, asked := gateway(t, http.StatusOK, `{"members":[{"ID":"18446744073709551615","name":"a","peerURLs":["u"],"isLearner":true},{"ID":"7","peerURLs":["v"]}]}`)
	members, err := c.Members(ctx)
	if err != nil || len(members) != 2 || members[0].ID != 18446744073709551615 || !members[0].Learner || members[1].Name != "" {
		t.Errorf("%+v, %v", members, err)
	}
	if err := c.Promote(ctx, 18446744073709551615); err != nil || *asked != `POST /v3/cluster/member/promote {"ID":"18446744073709551615"}` {
		t.Errorf("%s, %v", *asked, err)
	}
	c, _ = gateway(t, http.StatusOK, `{"header":{"member_id":"7"},"leader":"7"}`)
	if s, err := c.Status(ctx); err != nil || !s.IsLeader() || s.Learner {
		t.Errorf("%+v, %v", s, err)
	}
	// A member without a leader leaves the field out.
	c, _ = gateway(t, http.StatusOK, `{"header":{"member_id":"7"},"isLearner":true}`)
	if s, err := c.Status(ctx); err != nil || s.IsLeader() || !s.Learner || s.Leader != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	c, _ = gateway(t, http.StatusPreconditionFailed, `{"code":9,"message":"etcdserver: too many learner members in cluster"}`)
	if err := c.AddLearner(ctx, "u"); err == nil || err.Error() != "etcdserver: too many learner members in cluster" {
		t.Errorf("got %v", err)
	}
}
