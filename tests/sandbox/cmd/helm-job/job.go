// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
)

// job is what helm-controller asks for.
type job struct {
	remove    bool
	name      string
	namespace string
	chart     string // empty: the chart is a file below /chart
	repo      string
	version   string
	revision  int    // of the release that the job was made for; 0: none
	hash      string // of the configuration; goes onto the release
	policy    string // on failure
	apply     string // server-side: true, false, auto
	force     bool   // server-side apply takes fields from others
	timeout   time.Duration

	createNamespace, takeOwnership       bool
	insecure, plainHTTP, passCredentials bool
	set, setString                       []string
	// server is host:port of the API server, as pods reach it.
	server string
}

// parse reads the arguments (without the program's name) and the environment.
func parse(args []string, env func(string) string) (job, error) {
	j := job{
		name: env("NAME"), namespace: env("TARGET_NAMESPACE"),
		chart: env("CHART"), repo: env("REPO"), version: env("VERSION"),
		hash: env("CONFIG_HASH"), policy: env("FAILURE_POLICY"), apply: env("SERVER_SIDE"), timeout: 5 * time.Minute,
		server: net.JoinHostPort(env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT")),
	}
	var wrong []error
	truth := func(name string) bool {
		value := env(name)
		on, err := strconv.ParseBool(value)
		if err != nil && value != "" {
			wrong = append(wrong, fmt.Errorf("%s is %q, neither true nor false", name, value))
		}
		return on
	}
	j.force, j.insecure = truth("FORCE_CONFLICTS"), truth("INSECURE_SKIP_TLS_VERIFY")
	j.plainHTTP, j.passCredentials = truth("PLAIN_HTTP"), truth("AUTH_PASS_CREDENTIALS")
	if r := env("EXPECTED_RELEASE_REVISION"); r != "" {
		var err error
		if j.revision, err = strconv.Atoi(r); err != nil {
			wrong = append(wrong, fmt.Errorf("EXPECTED_RELEASE_REVISION is %q, not a number", r))
		}
	}
	if t := env("TIMEOUT"); t != "" {
		var err error
		if j.timeout, err = time.ParseDuration(t); err != nil {
			wrong = append(wrong, fmt.Errorf("TIMEOUT is %q, not a duration", t))
		}
	}
	if j.name == "" || j.namespace == "" {
		wrong = append(wrong, errors.New("NAME and TARGET_NAMESPACE must be set"))
	}
	switch {
	case len(args) > 0 && args[0] == "delete":
		j.remove = true
	case len(args) > 0 && args[0] == "install":
	default:
		return j, fmt.Errorf("the first argument must be install or delete; the arguments are %q", args)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	flags.StringVar(&j.namespace, "namespace", j.namespace, "of the release")
	flags.StringVar(&j.version, "version", j.version, "of the chart")
	flags.BoolVar(&j.createNamespace, "create-namespace", false, "make the namespace if it is not there")
	flags.BoolVar(&j.takeOwnership, "take-ownership", false, "adopt objects that are there already")
	several := func(list *[]string) func(string) error {
		return func(value string) error { *list = append(*list, value); return nil }
	}
	flags.Func("set", "KEY=VALUE", several(&j.set))
	flags.Func("set-string", "KEY=TEXT", several(&j.setString))
	if err := flags.Parse(args[1:]); err != nil {
		return j, err
	}
	if flags.NArg() > 0 {
		wrong = append(wrong, fmt.Errorf("unexpected arguments %q", flags.Args()))
	}
	return j, errors.Join(wrong...)
}

// input is what a release is made of.
type input struct {
	chart  chart.Charter
	values map[string]any
}

func (j job) input(settings *cli.EnvSettings, config, charts string) (input, error) {
	files, err := valueFiles(config)
	if err != nil {
		return input{}, err
	}
	options := values.Options{ValueFiles: files, Values: j.set, StringValues: j.setString}
	merged, err := options.MergeValues(getter.Providers{})
	if err != nil {
		return input{}, err
	}
	path, err := j.locate(settings, charts)
	if err != nil {
		return input{}, err
	}
	loaded, err := loader.Load(path)
	return input{loaded, merged}, err
}

// valueFiles lists the files of values in the order in which they are merged: by name, later ones win.
func valueFiles(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "values-*.yaml"))
	slices.Sort(files)
	return files, err
}

// locate is the chart's archive as a file.
func (j job) locate(settings *cli.EnvSettings, charts string) (string, error) {
	if j.chart == "" {
		return unpack(charts, j.name)
	}
	options := action.ChartPathOptions{
		RepoURL: j.repo, Version: j.version,
		InsecureSkipTLSVerify: j.insecure, PlainHTTP: j.plainHTTP, PassCredentialsAll: j.passCredentials,
	}
	name := j.chart
	if j.repo != "" {
		name = strings.TrimPrefix(name, j.name+"/") // helm-controller names the repository after the chart's resource
	}
	// k3s serves its own charts beside its API.
	return options.LocateChart(strings.ReplaceAll(name, "%{KUBERNETES_API}%", j.server), settings)
}

// unpack decodes the archive that the HelmChart carries.
func unpack(dir, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, name+".tgz.base64"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("neither spec.chart nor spec.chartContent of HelmChart %s: %w", name, err)
	}
	if err != nil {
		return "", err
	}
	archive, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("spec.chartContent of HelmChart %s is not base64: %w", name, err)
	}
	file, err := os.CreateTemp("", name+"-*.tgz")
	if err != nil {
		return "", err
	}
	_, err = file.Write(archive)
	return file.Name(), errors.Join(err, file.Close())
}
