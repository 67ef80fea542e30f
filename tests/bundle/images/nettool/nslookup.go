package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// The record types that are asked for and understood.
const (
	typeA     = 1
	typeCNAME = 5
	typePTR   = 12
	typeSRV   = 33
	typeAAAA  = 28
)

var typeByName = map[string]uint16{"A": typeA, "AAAA": typeAAAA, "CNAME": typeCNAME, "PTR": typePTR, "SRV": typeSRV}

var rcodes = map[int]string{1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

const (
	attempts = 2
	patience = 3 * time.Second
)

// nslookup asks DNS itself rather than Go's resolver, which would also look in /etc/hosts and hides why a server said
// no. Unlike busybox it follows the search list, so that a Service's short name can be asked for.
func nslookup(args []string, resolvConf string, out io.Writer) int {
	var types []uint16
	var words []string
	for _, arg := range args {
		option, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		case (option == "type" || option == "querytype" || option == "q") && typeByName[strings.ToUpper(value)] != 0:
			types = append(types, typeByName[strings.ToUpper(value)])
		default:
			fmt.Fprintf(os.Stderr, "nslookup: invalid option '%s'\n", arg)
			return 1
		}
	}
	if len(words) < 1 || len(words) > 2 {
		fmt.Fprintln(os.Stderr, "usage: nslookup [-type=A|AAAA|CNAME|PTR|SRV] NAME [SERVER]")
		return 1
	}

	name, conf := words[0], readResolvConf(resolvConf)
	servers := conf.servers
	if len(words) == 2 {
		server, err := serverAddress(words[1])
		if err != nil {
			fmt.Fprintf(os.Stderr, "nslookup: bad address '%s'\n", words[1])
			return 1
		}
		servers = []string{server}
	}

	candidates := conf.candidates(name)
	if ip, err := netip.ParseAddr(name); err == nil {
		candidates, types = []string{reverseName(ip)}, []uint16{typePTR}
	} else if len(types) == 0 {
		types = []uint16{typeA, typeAAAA}
	}

	header := false
	failure := ""
	for _, candidate := range candidates {
		var records []record
		for _, t := range types {
			server, found, rcode, err := ask(servers, candidate, t)
			if err != nil {
				fmt.Fprint(out, ";; connection timed out; no servers could be reached\n\n")
				return 1
			}
			if !header {
				header = true
				host, _, _ := net.SplitHostPort(server)
				fmt.Fprintf(out, "Server:\t\t%s\nAddress:\t%s\n\n", host, server)
			}
			if rcode != 0 && failure == "" {
				failure = rcodes[rcode]
				if failure == "" {
					failure = "code " + strconv.Itoa(rcode)
				}
			}
			records = append(records, found...)
		}
		for _, r := range records {
			switch r.kind {
			case typeA, typeAAAA:
				fmt.Fprintf(out, "Name:\t%s\nAddress: %s\n", r.name, r.data)
			case typeCNAME:
				fmt.Fprintf(out, "%s\tcanonical name = %s\n", r.name, r.data)
			case typePTR:
				fmt.Fprintf(out, "%s\tname = %s\n", r.name, r.data)
			case typeSRV:
				fmt.Fprintf(out, "%s\tservice = %s\n", r.name, r.data)
			}
		}
		if len(records) > 0 {
			fmt.Fprintln(out)
			return 0
		}
	}
	if failure == "" {
		fmt.Fprintf(out, "*** Can't find %s: No answer\n\n", name)
	} else {
		fmt.Fprintf(out, "** server can't find %s: %s\n\n", name, failure)
	}
	return 1
}

type resolver struct {
	servers, search []string
	ndots           int
}

func readResolvConf(path string) resolver {
	conf := resolver{ndots: 1}
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 2 {
				continue
			}
			switch fields[0] {
			case "nameserver":
				conf.servers = append(conf.servers, net.JoinHostPort(fields[1], "53"))
			case "search", "domain":
				conf.search = fields[1:]
			case "options":
				for _, option := range fields[1:] {
					if n, found := strings.CutPrefix(option, "ndots:"); found {
						conf.ndots, _ = strconv.Atoi(n)
					}
				}
			}
		}
	}
	if len(conf.servers) == 0 {
		conf.servers = []string{"127.0.0.1:53"}
	}
	return conf
}

// candidates are the full names to try for name, in resolv.conf's order: a name with ndots dots is first tried as it is.
func (c resolver) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{strings.TrimSuffix(name, ".")}
	}
	var names []string
	for _, domain := range c.search {
		if domain = strings.Trim(domain, "."); domain != "" {
			names = append(names, name+"."+domain)
		}
	}
	if strings.Count(name, ".") >= c.ndots {
		return append([]string{name}, names...)
	}
	return append(names, name)
}

func serverAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, "53"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(host, port), nil
	}
	addrs, err := net.LookupHost(host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(addrs[0], port), nil
}

func reverseName(ip netip.Addr) string {
	ip = ip.Unmap()
	var labels []string
	if ip.Is4() {
		for _, b := range ip.As4() {
			labels = append([]string{strconv.Itoa(int(b))}, labels...)
		}
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	for _, b := range ip.As16() {
		labels = append([]string{fmt.Sprintf("%x.%x", b&15, b>>4)}, labels...)
	}
	return strings.Join(labels, ".") + ".ip6.arpa"
}

type record struct {
	name, data string
	kind       uint16
}

// ask puts one question to the servers in turn and returns the first answer, and who gave it.
func ask(servers []string, name string, kind uint16) (server string, records []record, rcode int, err error) {
	query, err := question(name, kind)
	if err != nil {
		return "", nil, 0, err
	}
	for range attempts {
		for _, server = range servers {
			var answer []byte
			if answer, err = exchange("udp", server, query); err == nil && answer[2]&2 != 0 {
				answer, err = exchange("tcp", server, query) // truncated
			}
			if err == nil {
				records, rcode, err = parse(answer)
			}
			if err == nil {
				return server, records, rcode, nil
			}
		}
	}
	return "", nil, 0, err
}

func exchange(network, server string, query []byte) ([]byte, error) {
	conn, err := net.DialTimeout(network, server, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	answer := make([]byte, 65535)
	if network == "tcp" {
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
			return nil, err
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, err
		}
		answer = answer[:binary.BigEndian.Uint16(size[:])]
		if _, err := io.ReadFull(conn, answer); err != nil {
			return nil, err
		}
	} else {
		if _, err := conn.Write(query); err != nil {
			return nil, err
		}
		n, err := conn.Read(answer)
		if err != nil {
			return nil, err
		}
		answer = answer[:n]
	}
	if len(answer) < 12 || answer[0] != query[0] || answer[1] != query[1] {
		return nil, errMalformed
	}
	return answer, nil
}

func question(name string, kind uint16) ([]byte, error) {
	id := uint16(time.Now().UnixNano() >> 10)
	q := binary.BigEndian.AppendUint16(nil, id)
	q = append(q, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0) // recursion desired, one question
	for _, label := range strings.Split(name, ".") {
		if len(label) == 0 || len(label) > 63 {
			return nil, fmt.Errorf("bad name '%s'", name)
		}
		q = append(append(q, byte(len(label))), label...)
	}
	q = binary.BigEndian.AppendUint16(append(q, 0), kind)
	return binary.BigEndian.AppendUint16(q, 1), nil
}

var errMalformed = errors.New("malformed answer")

func parse(m []byte) ([]record, int, error) {
	rcode := int(m[3] & 15)
	questions, answers := binary.BigEndian.Uint16(m[4:]), binary.BigEndian.Uint16(m[6:])
	at := 12
	for range questions {
		_, next, err := readName(m, at)
		if err != nil {
			return nil, 0, err
		}
		at = next + 4
	}
	var records []record
	for range answers {
		name, next, err := readName(m, at)
		if err != nil || next+10 > len(m) {
			return nil, 0, errMalformed
		}
		kind, size := binary.BigEndian.Uint16(m[next:]), int(binary.BigEndian.Uint16(m[next+8:]))
		start := next + 10
		if at = start + size; at > len(m) {
			return nil, 0, errMalformed
		}
		r := record{name: name, kind: kind}
		switch {
		case kind == typeA && size == 4, kind == typeAAAA && size == 16:
			ip, _ := netip.AddrFromSlice(m[start:at])
			r.data = ip.String()
		case kind == typeCNAME, kind == typePTR:
			if r.data, _, err = readName(m, start); err != nil {
				return nil, 0, err
			}
		case kind == typeSRV && size > 6:
			target, _, err := readName(m, start+6)
			if err != nil {
				return nil, 0, err
			}
			r.data = fmt.Sprintf("%d %d %d %s", binary.BigEndian.Uint16(m[start:]),
				binary.BigEndian.Uint16(m[start+2:]), binary.BigEndian.Uint16(m[start+4:]), target)
		default:
			continue
		}
		records = append(records, r)
	}
	return records, rcode, nil
}

// readName returns the name at m[at:] and where the message goes on after it. A name may end in a pointer to an earlier
// one; the number of pointers is bounded, so that a loop ends.
func readName(m []byte, at int) (string, int, error) {
	var labels []string
	next := -1
	for pointers := 0; ; {
		if at >= len(m) {
			return "", 0, errMalformed
		}
		size := int(m[at])
		switch {
		case size == 0:
			if next < 0 {
				next = at + 1
			}
			return strings.Join(labels, "."), next, nil
		case size >= 0xc0:
			if pointers++; at+1 >= len(m) || pointers > 16 {
				return "", 0, errMalformed
			}
			if next < 0 {
				next = at + 2
			}
			at = (size&0x3f)<<8 | int(m[at+1])
		default:
			if at+1+size > len(m) {
				return "", 0, errMalformed
			}
			labels = append(labels, string(m[at+1:at+1+size]))
			at += 1 + size
		}
	}
}
