// Command clicks answers tracking links with a redirect and copies the clicks into PostgreSQL in batches: what a Go
// team would write instead of one INSERT a click. With -await a redirect leaves once its batch is committed.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"log"
	"net/http"
	"net/netip"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	maxBatch = 5_000
	// How long the first click of a batch waits for company when no visitor waits for it.
	linger = 50 * time.Millisecond
	// More clicks than this on their way to PostgreSQL make handlers wait.
	queueLength  = 65_536
	copies       = 2
	attempts     = 5
	shutdownTime = 10 * time.Second
)

type link struct {
	id, affiliate [16]byte
	landing       string
}

type click struct {
	id        [16]byte
	link      *link
	ip        netip.Addr
	userAgent string
	referrer  string
	print     string
	at        time.Time
	// Told when the click is committed, or cannot be; nil when nobody waits.
	done chan error
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address")
	database := flag.String("database", "", "PostgreSQL URL")
	await := flag.Bool("await", false, "answer once the click is committed")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	pool, err := pgxpool.New(ctx, *database)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	links, err := readLinks(ctx, pool)
	if err != nil {
		log.Fatal(err)
	}

	queue := make(chan *click, queueLength)
	var copiers sync.WaitGroup
	for range copies {
		copiers.Go(func() { copyBatches(pool, queue, *await) })
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /c/{code}", func(w http.ResponseWriter, r *http.Request) {
		redirect(w, r, links[r.PathValue("code")], queue, *await)
	})
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		_ = server.Shutdown(late)
		close(queue)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	copiers.Wait()
}

func readLinks(ctx context.Context, pool *pgxpool.Pool) (map[string]*link, error) {
	rows, err := pool.Query(ctx, `select a.ref_code, l.id, a.id, l.landing_url
		from affiliates a join affiliate_links l on l.affiliate_id = a.id where a.status = 'active'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	links := map[string]*link{}
	for rows.Next() {
		var code string
		var l link
		if err := rows.Scan(&code, &l.id, &l.affiliate, &l.landing); err != nil {
			return nil, err
		}
		links[code] = &l
	}
	return links, rows.Err()
}

func redirect(w http.ResponseWriter, r *http.Request, l *link, queue chan<- *click, await bool) {
	if l == nil {
		http.NotFound(w, r)
		return
	}
	address, _ := netip.ParseAddrPort(r.RemoteAddr)
	print := sha256.Sum256([]byte(r.UserAgent() + ":" + r.Header.Get("Accept-Language")))
	c := &click{
		id:        newID(),
		link:      l,
		ip:        address.Addr(),
		userAgent: r.UserAgent(),
		referrer:  r.Referer(),
		print:     hex.EncodeToString(print[:16]),
		at:        time.Now(),
	}
	if await {
		c.done = make(chan error, 1)
	}
	queue <- c
	if await {
		if err := <-c.done; err != nil {
			http.Error(w, "the click could not be stored", http.StatusServiceUnavailable)
			return
		}
	}
	id := text(c.id)
	header := w.Header()
	header.Set("Location", l.landing+"&click_id="+id)
	header.Set("Cache-Control", "no-store")
	header.Set("Set-Cookie", "aff_click="+id+"; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax")
	w.WriteHeader(http.StatusFound)
}

// copyBatches sends what has gathered in the queue, batch by batch, until the queue is closed and empty.
func copyBatches(pool *pgxpool.Pool, queue <-chan *click, await bool) {
	batch := make([]*click, 0, maxBatch)
	for first := range queue {
		batch = append(batch[:0], first)
		if await {
			batch = takeThere(batch, queue)
		} else {
			batch = takeFor(batch, queue)
		}
		err := store(pool, batch)
		if err != nil {
			log.Printf("%d clicks are lost: %v", len(batch), err)
		}
		for _, c := range batch {
			if c.done != nil {
				c.done <- err
			}
		}
	}
}

// takeThere adds the clicks that are in the queue already: those that came while the last batch was copied.
func takeThere(batch []*click, queue <-chan *click) []*click {
	for len(batch) < maxBatch {
		select {
		case c, open := <-queue:
			if !open {
				return batch
			}
			batch = append(batch, c)
		default:
			return batch
		}
	}
	return batch
}

func takeFor(batch []*click, queue <-chan *click) []*click {
	late := time.NewTimer(linger)
	defer late.Stop()
	for len(batch) < maxBatch {
		select {
		case c, open := <-queue:
			if !open {
				return batch
			}
			batch = append(batch, c)
		case <-late.C:
			return batch
		}
	}
	return batch
}

// store repeats a failed COPY. It is all or nothing, so a duplicate key says that an earlier attempt was committed.
func store(pool *pgxpool.Pool, batch []*click) error {
	columns := []string{"id", "affiliate_id", "link_id", "ip", "user_agent", "referrer", "fingerprint", "created_at"}
	var err error
	for attempt := range attempts {
		source := pgx.CopyFromSlice(len(batch), func(i int) ([]any, error) {
			c := batch[i]
			return []any{c.id, c.link.affiliate, c.link.id, c.ip, c.userAgent, c.referrer, c.print, c.at}, nil
		})
		if _, err = pool.CopyFrom(context.Background(), pgx.Identifier{"affiliate_clicks"}, columns, source); err == nil {
			return nil
		}
		var refusal *pgconn.PgError
		if attempt > 0 && errors.As(err, &refusal) && refusal.Code == "23505" {
			return nil
		}
		time.Sleep(100 * time.Millisecond << attempt)
	}
	return err
}

// newID makes a UUID of version 4.
func newID() (id [16]byte) {
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

func text(id [16]byte) string {
	var out [36]byte
	hex.Encode(out[0:8], id[0:4])
	hex.Encode(out[9:13], id[4:6])
	hex.Encode(out[14:18], id[6:8])
	hex.Encode(out[19:23], id[8:10])
	hex.Encode(out[24:36], id[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}
