// The issuer of the lab oidc: zitadel/oidc's provider with its own example of a login page and of a
// store in memory, over TLS. Whoever has an account in users.json and its password gets a token.
package main

import (
	"cmp"
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	env := func(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }
	address := env("ISSUER_LISTEN", ":5556")
	users, err := storage.StoreFromFile(env("ISSUER_USERS", "/etc/issuer/users.json"))
	if err != nil {
		log.Error("cannot read the accounts", "error", err)
		os.Exit(1)
	}
	// kubectl is a program on a person's machine: it keeps no secret, and proves with PKCE that the
	// answer is for it.
	storage.RegisterClients(storage.NativeClient("kubernetes", "http://localhost:8000"))
	// What it hands out before a login has ended is encrypted, with another key at each start.
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		log.Error("no random key", "error", err)
		os.Exit(1)
	}
	server := http.Server{
		Addr: address,
		Handler: exampleop.SetupServer(
			os.Getenv("ISSUER_URL"), storage.NewStorage(users), log, false,
			op.WithCrypto(op.NewAES256GCMCrypto(key, "key1")),
		),
	}
	certificate := env("ISSUER_CERTIFICATE", "/etc/issuer/tls.crt")
	log.Error("ended", "error",
		server.ListenAndServeTLS(certificate, env("ISSUER_KEY", "/etc/issuer/tls.key")))
	os.Exit(1)
}
