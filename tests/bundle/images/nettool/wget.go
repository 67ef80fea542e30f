package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const wgetUsage = `usage: wget [-q] [-S] [-O FILE|-] [-T SECONDS] [--header 'NAME: VALUE'] [--post-data DATA] [--spider] URL`

type wgetOptions struct {
	quiet, showHeaders, spider bool
	output, post, url          string
	hasPost                    bool
	timeout                    time.Duration
	headers                    []string
}

func parseWget(args []string) (o wgetOptions, err error) {
	o.timeout = 900 * time.Second // busybox's own default
	long := map[string]string{
		"quiet": "q", "server-response": "S", "output-document": "O", "timeout": "T", "spider": "spider",
		"header": "header", "post-data": "post-data", "no-check-certificate": "ignored",
	}
	set := func(name, value string) error {
		switch name {
		case "q":
			o.quiet = true
		case "S":
			o.showHeaders = true
		case "spider":
			o.spider = true
		case "O":
			o.output = value
		case "header":
			o.headers = append(o.headers, value)
		case "post-data":
			o.post, o.hasPost = value, true
		case "T":
			seconds, err := strconv.Atoi(value)
			if err != nil || seconds < 1 {
				return fmt.Errorf("invalid number '%s'", value)
			}
			o.timeout = time.Duration(seconds) * time.Second
		case "ignored":
		default:
			return fmt.Errorf("unrecognized option '%s'", name)
		}
		return nil
	}
	takesValue := func(name string) bool {
		return name == "O" || name == "T" || name == "header" || name == "post-data"
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		// next is the value of an option: what is glued to it, or else the argument after it.
		next := func(glued string, has bool) (string, error) {
			if has {
				return glued, nil
			}
			if i++; i == len(args) {
				return "", fmt.Errorf("option '%s' requires an argument", arg)
			}
			return args[i], nil
		}
		switch {
		case strings.HasPrefix(arg, "--") && len(arg) > 2:
			name, value, has := strings.Cut(arg[2:], "=")
			short, known := long[name]
			if !known {
				return o, fmt.Errorf("unrecognized option '%s'", arg)
			}
			if takesValue(short) {
				if value, err = next(value, has); err != nil {
					return o, err
				}
			}
			if err = set(short, value); err != nil {
				return o, err
			}
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			for j := 1; j < len(arg); j++ {
				name, value := arg[j:j+1], ""
				if takesValue(name) {
					if value, err = next(arg[j+1:], j+1 < len(arg)); err != nil {
						return o, err
					}
					j = len(arg)
				}
				if err = set(name, value); err != nil {
					return o, err
				}
			}
		case o.url == "":
			o.url = arg
		default:
			return o, errors.New("only one URL at a time")
		}
	}
	if o.url == "" {
		return o, errors.New("missing URL")
	}
	if !strings.Contains(o.url, "://") {
		o.url = "http://" + o.url
	}
	return o, nil
}

func wget(args []string) int {
	o, err := parseWget(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "wget: %v\n%s\n", err, wgetUsage)
		return 1
	}
	if err := o.fetch(); err != nil {
		fmt.Fprintln(os.Stderr, "wget:", err)
		return 1
	}
	return 0
}

func (o wgetOptions) note(format string, a ...any) {
	if !o.quiet {
		fmt.Fprintf(os.Stderr, format+"\n", a...)
	}
}

func (o wgetOptions) fetch() error {
	// -T is the longest silence that is borne, not the longest download: every sign of life winds the timer up again.
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	errTimeout := errors.New("download timed out")
	silence := time.AfterFunc(o.timeout, func() { cancel(errTimeout) })
	defer silence.Stop()

	var errno syscall.Errno
	explain := func(err error) error {
		var dns *net.DNSError
		var op *net.OpError
		switch {
		case context.Cause(ctx) == errTimeout:
			return errTimeout
		case errors.As(err, &dns):
			return fmt.Errorf("bad address '%s'", dns.Name)
		case errors.As(err, &op) && op.Op == "dial" && errors.As(err, &errno):
			host, _, _ := net.SplitHostPort(op.Addr.String())
			return fmt.Errorf("can't connect to remote host (%s): %s", host, sentence(errno))
		}
		return err
	}

	method, body := http.MethodGet, io.Reader(nil)
	if o.spider {
		method = http.MethodHead
	}
	if o.hasPost {
		method, body = http.MethodPost, strings.NewReader(o.post)
	}
	req, err := http.NewRequestWithContext(ctx, method, o.url, body)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "Wget")
	if o.hasPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range o.headers {
		name, value, _ := strings.Cut(h, ":")
		if strings.EqualFold(name, "Host") {
			req.Host = strings.TrimSpace(value)
			continue
		}
		req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}

	var dialer net.Dialer
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err == nil {
				host, _, _ := net.SplitHostPort(addr)
				o.note("Connecting to %s (%s)", host, conn.RemoteAddr())
			}
			return conn, err
		},
		// busybox does not check certificates either, and says so.
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		DisableCompression: true,
	}
	if req.URL.Scheme == "https" {
		o.note("wget: note: TLS certificate validation not implemented")
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return explain(err)
	}
	defer resp.Body.Close()
	silence.Reset(o.timeout)
	if o.showHeaders {
		fmt.Fprintf(os.Stderr, "  %s %s\n", resp.Proto, resp.Status)
		for name, values := range resp.Header {
			fmt.Fprintf(os.Stderr, "  %s: %s\n", name, strings.Join(values, ", "))
		}
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("server returned error: %s %s", resp.Proto, resp.Status)
	}
	if o.spider {
		o.note("remote file exists")
		return nil
	}

	out, name := os.Stdout, o.output
	if name != "-" {
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if name == "" {
			if name = path.Base(req.URL.Path); name == "/" || name == "." {
				name = "index.html"
			}
			flags |= os.O_EXCL // a name that nobody asked for must not replace a file
		}
		if out, err = os.OpenFile(name, flags, 0o666); err != nil {
			if errors.As(err, &errno) {
				return fmt.Errorf("can't open '%s': %s", name, sentence(errno))
			}
			return err
		}
		o.note("saving to '%s'", name)
	}
	buffer := make([]byte, 64*1024)
	for {
		n, err := resp.Body.Read(buffer)
		silence.Reset(o.timeout)
		if n > 0 {
			if _, err := out.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return explain(err)
		}
	}
	if name != "-" {
		o.note("'%s' saved", name)
	}
	return out.Close()
}

// sentence is an errno as C's strerror and therefore busybox writes it: "Connection refused".
func sentence(errno syscall.Errno) string {
	s := errno.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
