package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

var shipments = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "shipments_total",
	Help: "Shipments by what became of them.",
}, []string{"state"})

// A shipment, as it is answered.
type shipment struct {
	Number int    `json:"number"`
	State  string `json:"state"`
	// Who the database says that we are: it shows that a password was rotated.
	User string `json:"user"`
}

type service struct {
	db       *sql.DB
	stockURL string
	client   *http.Client
}

func newService(db *sql.DB, stockURL string) *service {
	// Its requests are spans, and carry the trace on in the header traceparent.
	client := &http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport), Timeout: 5 * time.Second}
	return &service{db: db, stockURL: stockURL, client: client}
}

func (s *service) routes() http.Handler {
	const route = "POST /shipments/{number}"
	mux := http.NewServeMux()
	mux.Handle(route, otelhttp.NewHandler(http.HandlerFunc(s.post), route))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func (s *service) post(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		http.Error(w, "a shipment has a number", http.StatusBadRequest)
		return
	}
	made, err := s.ship(r.Context(), number)
	if err != nil {
		slog.ErrorContext(r.Context(), "not shipped", "number", number, "error", err)
		http.Error(w, "not shipped", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// Who asked may have gone: there is nobody to tell.
	_ = json.NewEncoder(w).Encode(made)
}

// ship looks what there is, and writes down what becomes of the shipment.
func (s *service) ship(ctx context.Context, number int) (shipment, error) {
	stock, err := s.stock(ctx, number)
	if err != nil {
		return shipment{}, fmt.Errorf("ask for the stock: %w", err)
	}
	made := shipment{Number: number, State: "shipped"}
	level := slog.LevelInfo
	if stock == 0 {
		made.State = "waiting"
		level = slog.LevelWarn
	}
	row := s.db.QueryRowContext(ctx, "INSERT INTO shipments (number, state) VALUES ($1, $2) RETURNING current_user", number, made.State)
	if err := row.Scan(&made.User); err != nil {
		return shipment{}, fmt.Errorf("write it down: %w", err)
	}
	shipments.WithLabelValues(made.State).Inc()
	slog.Log(ctx, level, "shipment "+made.State, "number", number, "stock", stock)
	return made, nil
}

// stock asks the service of that name how many there are.
func (s *service) stock(ctx context.Context, number int) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/stock/%d", s.stockURL, number), nil)
	if err != nil {
		return 0, err
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("stock answered %s", answer.Status)
	}
	var body struct {
		Stock int `json:"stock"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return 0, err
	}
	return body.Stock, nil
}
