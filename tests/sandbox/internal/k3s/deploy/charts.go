// SPDX-License-Identifier: GPL-3.0-or-later

package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/base64"
	"errors"
	"io/fs"
	"path"
)

//go:embed charts
var charts embed.FS

// chartContent packs an embedded chart as a HelmChart carries it: an archive in base64. The same chart gives the same
// text, so a start of k3s changes nothing.
func chartContent(name string) (string, error) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	err := fs.WalkDir(charts, path.Join("charts", name), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := charts.ReadFile(file)
		if err != nil {
			return err
		}
		// Helm wants the chart's name as the first directory.
		header := tar.Header{Typeflag: tar.TypeReg, Name: file[len("charts/"):], Mode: 0o644, Size: int64(len(data))}
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	})
	if err := errors.Join(err, archive.Close(), zip.Close()); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes()), nil
}
