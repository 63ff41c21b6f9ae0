package main

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lib/pq"
)

// opened is a connection that nobody uses.
type opened struct{ pqConn }

func (opened) Close() error                       { return nil }
func (opened) IsValid() bool                      { return true }
func (opened) ResetSession(context.Context) error { return nil }

// replace puts a secret in the file as pillion does: another file takes its place.
func replace(t *testing.T, file, user, password string) {
	t.Helper()
	value := map[string]any{"host": "db", "port": 5432, "username": user, "password": password, "dbname": "shop"}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// database lets in whose connection string has this login. Before it answers it does what is asked for.
func database(login string, before func(tries int)) (dial func(context.Context, string) (driver.Conn, error), tries *int) {
	tries = new(int)
	return func(_ context.Context, dsn string) (driver.Conn, error) {
		*tries++
		before(*tries)
		if !strings.Contains(dsn, login) {
			return nil, &pq.Error{Code: invalidPassword}
		}
		return opened{}, nil
	}, tries
}

func TestALoginThatARotationOvertookIsTriedOnceMore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "DB")
	replace(t, file, "shop", "before")
	dial, tries := database(`user='shop_clone' password='it\'s: "new"/@\\?#%'`, func(tries int) {
		if tries == 1 {
			replace(t, file, "shop_clone", `it's: "new"/@\?#%`)
		}
	})
	if _, err := (&connector{file: file, dial: dial}).Connect(context.Background()); err != nil || *tries != 2 {
		t.Errorf("%v after %d tries", err, *tries)
	}
}

func TestALoginThatIsRefusedForGoodIsNotTriedAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "DB")
	replace(t, file, "shop", "wrong")
	dial, tries := database("password='right'", func(int) {})
	_, err := (&connector{file: file, dial: dial}).Connect(context.Background())
	var refused *pq.Error
	if !errors.As(err, &refused) || refused.Code != invalidPassword || *tries != 1 {
		t.Errorf("%v after %d tries", err, *tries)
	}
}

func TestAConnectionIsUsedUntilTheFileSaysSomethingElse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "DB")
	replace(t, file, "shop", "right")
	dial, _ := database("password='right'", func(int) {})
	conn, err := (&connector{file: file, dial: dial}).Connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, valid bool, want error) {
		t.Helper()
		if is := conn.(driver.Validator).IsValid(); is != valid {
			t.Errorf("%s: IsValid is %v", when, is)
		}
		if err := conn.(driver.SessionResetter).ResetSession(context.Background()); err != want {
			t.Errorf("%s: ResetSession says %v", when, err)
		}
	}
	check("at first", true, nil)
	replace(t, file, "shop_clone", "right")
	check("after a rotation", false, driver.ErrBadConn)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	check("without the file", true, nil)
}

func TestAnErrorShowsNothingOfTheSecret(t *testing.T) {
	_, err := dsnOf([]byte(`{"port": "canary-value"}`))
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("it says %v", err)
	}
}
