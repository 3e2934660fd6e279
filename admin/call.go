package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// call sends body, unless it is nil, and reads the one answer.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (answer T, err error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return answer, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("reading the server's answer: %w", err)
	}
	return answer, nil
}

// lines calls fn for each line of an answer that has many, until there are no
// more, fn fails, or ctx ends.
func lines[T any](ctx context.Context, c *Client, path string, fn func(T) error) error {
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	for dec := json.NewDecoder(resp.Body); ; {
		var line json.RawMessage
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the server's answer: %w", errors.Join(ctx.Err(), err))
		}
		if err := handLine(line, fn); err != nil {
			return err
		}
	}
}

func handLine[T any](line json.RawMessage, fn func(T) error) error {
	var failed Failed
	if err := json.Unmarshal(line, &failed); err == nil && failed.Error != nil && failed.Error.Message != "" {
		return failed.Error
	}
	var v T
	if err := json.Unmarshal(line, &v); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	return fn(v)
}

// send returns the answer of a request that was not refused; the caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, refused(resp.StatusCode, io.LimitReader(resp.Body, maxAnswer))
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err == nil && body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// withQuery appends what is set in a query struct to a path, as the server reads
// it: by the names and rules of its JSON.
func withQuery(path string, query any) (string, error) {
	data, err := json.Marshal(query)
	if err != nil {
		return "", err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	fields := map[string]any{}
	if err := dec.Decode(&fields); err != nil {
		return "", err
	}
	values := url.Values{}
	for name, v := range fields {
		list, many := v.([]any)
		if !many {
			list = []any{v}
		}
		for _, one := range list {
			values.Add(name, fmt.Sprint(one))
		}
	}
	if len(values) == 0 {
		return path, nil
	}
	return path + "?" + values.Encode(), nil
}

func refused(status int, body io.Reader) error {
	var e Error
	if err := json.NewDecoder(body).Decode(&e); err != nil || e.Message == "" {
		return fmt.Errorf("the server answered with HTTP status %d", status)
	}
	return &e
}
