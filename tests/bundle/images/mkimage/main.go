// Command mkimage packs a folder as a container image of one layer, in the form that `ctr images import` and
// `docker load` read: a tar of manifest.json, config.json and layer.tar.
//
// The same folder always gives the same bytes: entries are sorted, owned by root and dated 1970, and modes do not
// depend on the umask of whoever made the folder.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	root := flag.String("root", "", "the folder that becomes the image's root")
	out := flag.String("out", "", "the tar to write")
	tag := flag.String("tag", "", "the image's name, with registry and tag")
	arch := flag.String("arch", "", "GOARCH of the programs in it")
	user := flag.String("user", "", "UID:GID to run as; root when left out")
	entrypoint := flag.String("entrypoint", "", "the program to run, without arguments")
	cmd := flag.String("cmd", "", "the default command, without arguments")
	flag.Parse()
	if err := run(*root, *out, *tag, *arch, *user, *entrypoint, *cmd); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

var epoch = time.Unix(0, 0).UTC()

func run(root, out, tag, arch, user, entrypoint, cmd string) error {
	if root == "" || out == "" || tag == "" || arch == "" {
		return fmt.Errorf("-root, -out, -tag and -arch are needed")
	}
	layer, err := pack(root)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(layer)

	process := map[string]any{
		"Env":        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		"WorkingDir": "/",
	}
	if user != "" {
		process["User"] = user
	}
	if entrypoint != "" {
		process["Entrypoint"] = []string{entrypoint}
	}
	if cmd != "" {
		process["Cmd"] = []string{cmd}
	}
	config, err := json.Marshal(map[string]any{
		"architecture": arch,
		"os":           "linux",
		"created":      epoch,
		"config":       process,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
		"history":      []any{map[string]any{"created": epoch, "created_by": "labctl tests/bundle"}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]any{map[string]any{
		"Config": "config.json", "RepoTags": []string{tag}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return err
	}

	var image bytes.Buffer
	w := tar.NewWriter(&image)
	for _, f := range []struct {
		name string
		data []byte
	}{{"config.json", config}, {"layer.tar", layer}, {"manifest.json", manifest}} {
		if err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: 0o644, ModTime: epoch, Format: tar.FormatUSTAR,
		}); err != nil {
			return err
		}
		if _, err := w.Write(f.data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(out, image.Bytes(), 0o644)
}

// pack returns the tar of everything below root. WalkDir goes in lexical order, folders before what is in them.
func pack(root string) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(rel), ModTime: epoch, Format: tar.FormatUSTAR}
		var data []byte
		switch mode := info.Mode(); {
		case mode.IsDir():
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
			h.Name = strings.TrimSuffix(h.Name, "/") + "/"
			if mode&fs.ModeSticky != 0 {
				h.Mode = 0o1777
			}
		case mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
			if h.Linkname, err = os.Readlink(path); err != nil {
				return err
			}
		case mode.IsRegular():
			h.Typeflag, h.Mode = tar.TypeReg, 0o644
			if mode&0o100 != 0 {
				h.Mode = 0o755
			}
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
			h.Size = int64(len(data))
		default:
			return fmt.Errorf("%s: neither folder, file nor symbolic link", path)
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return layer.Bytes(), nil
}
