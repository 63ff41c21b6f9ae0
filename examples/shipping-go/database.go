package main

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/lib/pq"
)

// invalidPassword is PostgreSQL's code for a login that it refuses.
const invalidPassword pq.ErrorCode = "28P01"

// connector opens connections with what the file says at that moment. User and password are one file, so that they belong together.
//
// The pool it serves needs no restart and no timer when they are rotated: a connection that was opened with what stood there before is
// closed when it comes back, or before it is used again, and what is under way on it ends well.
type connector struct {
	file string
	dial func(ctx context.Context, dsn string) (driver.Conn, error)
}

func newConnector(file string) *connector {
	return &connector{file: file, dial: dialPostgres}
}

func dialPostgres(ctx context.Context, dsn string) (driver.Conn, error) {
	opener, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return opener.Connect(ctx)
}

// Connect is called by the pool for each new connection.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	secret, err := os.ReadFile(c.file)
	if err != nil {
		return nil, err
	}
	conn, err := c.connectWith(ctx, secret)
	var refused *pq.Error
	if errors.As(err, &refused) && refused.Code == invalidPassword {
		// The file may have been replaced between our look and the login. If not, the second try would be refused like the first.
		again, readErr := os.ReadFile(c.file)
		if readErr != nil || bytes.Equal(again, secret) {
			return nil, err
		}
		return c.connectWith(ctx, again)
	}
	return conn, err
}

// Driver is for who asks database/sql what is below.
func (c *connector) Driver() driver.Driver { return &pq.Driver{} }

func (c *connector) connectWith(ctx context.Context, secret []byte) (driver.Conn, error) {
	dsn, err := dsnOf(secret)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx, dsn)
	if err != nil {
		return nil, err
	}
	able, ok := conn.(pqConn)
	if !ok {
		return nil, errors.Join(errors.New("lib/pq's connections can do less than they could"), conn.Close())
	}
	return &connection{pqConn: able, connector: c, secret: secret}, nil
}

// dsnOf reads a secret as RDS has it. It makes no URL of it: errors about URLs show them, with the password.
func dsnOf(secret []byte) (string, error) {
	var value struct {
		Host     string `json:"host"`
		Port     int    `json:"port"`
		Username string `json:"username"`
		Password string `json:"password"`
		DBName   string `json:"dbname"`
	}
	if err := json.Unmarshal(secret, &value); err != nil {
		// The error of the parser may show a piece of the secret.
		return "", errors.New("the file with the login is not the JSON that it should be")
	}
	return fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s",
		quoted(value.Host), value.Port, quoted(value.Username), quoted(value.Password), quoted(value.DBName)), nil
}

// quoted is a value that may be made of anything.
func quoted(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// pqConn is all that lib/pq's connections can do and database/sql asks for: without one of them it would take a slower way.
type pqConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// connection is one of lib/pq that knows with what it was opened.
type connection struct {
	pqConn
	connector *connector
	secret    []byte
}

// isCurrent says whether the file still says what it said. One that cannot be read tells nothing against a connection that works.
func (c *connection) isCurrent() bool {
	now, err := os.ReadFile(c.connector.file)
	return err != nil || bytes.Equal(now, c.secret)
}

// IsValid is asked when a connection comes back to the pool.
func (c *connection) IsValid() bool {
	return c.isCurrent() && c.pqConn.IsValid()
}

// ResetSession is called before a connection that lay in the pool is used again.
func (c *connection) ResetSession(ctx context.Context) error {
	if !c.isCurrent() {
		return driver.ErrBadConn
	}
	return c.pqConn.ResetSession(ctx)
}
