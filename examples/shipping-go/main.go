// Without a go.mod that says which Go this is for, it would be built with what was usual in Go 1.20.
//
//go:debug default=go1.24

// Command shipping sends on its way what is in stock.
//
//	POST /shipments/7    {"number": 7, "state": "shipped", "user": "shop_shipping"}
//	GET  /health
//
// Nothing in here knows of pillion. Lines go to standard output as JSON, spans to where OTEL_EXPORTER_OTLP_ENDPOINT says, counters are on
// a port of loopback for whoever scrapes, and the database's user and password are in the file that DB_FILE names.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	address = ":8083"
	// Nobody outside of the task reads the counters.
	metricsAddress = "127.0.0.1:9090"
	// How long requests that are under way have at the end: less than the task definition's stopTimeout.
	drain = 20 * time.Second
)

func main() {
	healthcheck := flag.Bool("healthcheck", false, "ask the running service whether it is well: for an image without a shell")
	flag.Parse()
	slog.SetDefault(slog.New(tracedHandler{slog.NewJSONHandler(os.Stdout, nil)}))
	do := run
	if *healthcheck {
		do = askHealth
	}
	if err := do(); err != nil {
		slog.Error("shipping failed", "error", err)
		os.Exit(1)
	}
}

// run serves until SIGTERM, lets requests end, and tells what is left of the spans.
func run() error {
	for _, name := range []string{"DB_FILE", "STOCK_URL"} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("the variable %s is not set", name)
		}
	}
	// Before anything else, for as process 1 it has no handler of its own.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	endTracing, err := startTracing(ctx)
	if err != nil {
		return err
	}
	db := sql.OpenDB(newConnector(os.Getenv("DB_FILE")))
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	service := newService(db, os.Getenv("STOCK_URL"))
	servers := []*http.Server{
		{Addr: address, Handler: service.routes(), ReadHeaderTimeout: 5 * time.Second},
		{Addr: metricsAddress, Handler: promhttp.Handler(), ReadHeaderTimeout: 5 * time.Second},
	}
	ended := make(chan error, len(servers))
	for _, server := range servers {
		go func() { ended <- server.ListenAndServe() }()
	}
	slog.Info("shipping ready")
	select {
	case <-ctx.Done():
	case err = <-ended:
		err = fmt.Errorf("serve: %w", err)
	}
	// The one that was stopped cannot bound what is still to be done.
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	for _, server := range servers {
		err = errors.Join(err, server.Shutdown(ctx))
	}
	err = errors.Join(err, endTracing(ctx), db.Close())
	slog.Info("shipping stopped")
	return err
}

// askHealth is the container's health check.
func askHealth() error {
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get("http://127.0.0.1" + address + "/health")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("not well: %s", answer.Status)
	}
	return nil
}
