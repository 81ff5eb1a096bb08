// SPDX-License-Identifier: GPL-3.0-or-later

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	ca := []byte("a certificate")
	full := FullToken(ca, "s3cret")
	token, err := ParseToken(full + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(full, "K10") || !strings.HasSuffix(full, "::server:s3cret") {
		t.Errorf("full token %s", full)
	}
	if !token.Matches("s3cret") || token.Matches("s3cre") || token.Matches("") {
		t.Error("the secret is compared wrongly")
	}
	if err := token.CheckCA(ca); err != nil {
		t.Error(err)
	}
	if token.CheckCA([]byte("another")) == nil {
		t.Error("a CA with another hash was accepted")
	}
	short, err := ParseToken("s3cret")
	if err != nil || short.CAHash != "" || !short.Matches("s3cret") || short.CheckCA(ca) != nil {
		t.Errorf("short token %+v: %v", short, err)
	}
	for _, bad := range []string{"", "K10abc::server:x", "K10" + strings.Repeat("a", 64) + "::server:", "K10" + strings.Repeat("a", 64) + "::server"} {
		if _, err := ParseToken(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAuthorityOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Issue(dir, "leaf", Subject{Name: "x", Groups: []string{"g"}, SANs: []string{"localhost", "127.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	again, err := LoadAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "leaf.crt"), filepath.Join(dir, "leaf.key"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(again.Cert)
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Error(err)
		}
	}
	if leaf.Subject.CommonName != "x" || leaf.Subject.Organization[0] != "g" {
		t.Errorf("subject %v", leaf.Subject)
	}
}

func TestKeysAreNotReadableByOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if _, err := LoadKey(file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
}

func TestWriteFileKeepsAnUnchangedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d", "f")
	stat := func() os.FileInfo {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if err := WriteFile(file, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := stat()
	if err := WriteFile(file, []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if after := stat(); !os.SameFile(before, after) || after.Mode().Perm() != 0o644 {
		t.Error("an unchanged file was replaced, or its mode left alone")
	}
	if err := WriteFile(file, []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.SameFile(before, stat()) {
		t.Error("a changed file was written in place")
	}
}
