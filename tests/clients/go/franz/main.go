// Command franz runs franz-go, the client that follows Kafka's newest versions, against a broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"streamd/clients/check"
)

const name = "franz-go"

func main() {
	check.Main(name, "github.com/twmb/franz-go", run)
}

func run(broker string) {
	topic := check.FreshName(name)
	group := topic + "-group"
	cl := client(broker)
	defer cl.Close()
	admin := kadm.NewClient(cl)
	create(admin, topic)
	sent := produce(broker, topic)
	ledger := check.NewLedger()
	check.Step("first member of the group, from the earliest record")
	consume(broker, admin, topic, group, ledger, check.Half)
	check.Step("the same group again, from where it left off")
	consume(broker, admin, topic, group, ledger, check.Total)
	ledger.Complete(sent)
	lookUp(broker, admin, topic, ledger)
	inspectGroup(admin, topic, group, ledger)
	share(broker, topic, topic+"-shared")
	remove(broker, admin, topic, group, topic+"-shared")
}

func client(broker string, more ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(broker)}, more...)...)
	check.OK("new client", err)
	return cl
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), check.Wait)
}

func create(admin *kadm.Client, topic string) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("create a topic")
	retention := "86400000"
	configs := map[string]*string{"retention.ms": &retention}
	_, err := admin.CreateTopic(ctx, check.Partitions, 1, configs, topic)
	check.OK("creating a topic", err)
	check.Settle()
	_, err = admin.CreateTopic(ctx, check.Partitions, 1, configs, topic)
	check.True("creating a topic twice must say TOPIC_ALREADY_EXISTS", errors.Is(err, kerr.TopicAlreadyExists), err)
	check.Step("list and describe it")
	all, err := admin.ListTopics(ctx)
	check.OK("listing topics", err)
	check.True("topic list must name the topic", all.Has(topic), all.Names())
	check.Expect("partitions", check.AllPartitions(), check.Sorted(all[topic].Partitions.Numbers()))
	check.True("topic id must not be zero", all[topic].ID != kadm.TopicID{}, all[topic].ID)
	brokers, err := admin.ListBrokers(ctx)
	check.OK("listing brokers", err)
	for _, p := range all[topic].Partitions {
		check.Expect("leader of a partition", brokers.NodeIDs()[0], p.Leader)
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	check.OK("describing configs", err)
	got := map[string]string{}
	for _, config := range described[0].Configs {
		got[config.Key] = fmt.Sprintf("%s from %s", config.MaybeValue(), config.Source)
	}
	check.Expect("retention.ms", "86400000 from DYNAMIC_TOPIC_CONFIG", got["retention.ms"])
	check.Expect("cleanup.policy", "delete from DEFAULT_CONFIG", got["cleanup.policy"])
}

func produce(broker, topic string) map[int]check.Place {
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()},
		{"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	}
	ctx, cancel := limited()
	defer cancel()
	var mu sync.Mutex
	sent := map[int]check.Place{}
	for i, c := range codecs {
		check.Step("produce with " + c.name)
		// Idempotent and acks=all are this client's defaults.
		cl := client(broker, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(c.codec), kgo.ProducerLinger(5*time.Millisecond))
		for n := i * check.Total / len(codecs); n < (i+1)*check.Total/len(codecs); n++ {
			r := &kgo.Record{Key: check.Key(n), Value: check.Value(n), Timestamp: check.Time(n)}
			for _, h := range check.Headers(n) {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
			}
			cl.Produce(ctx, r, func(r *kgo.Record, err error) {
				defer check.Guard(name)
				check.OK(fmt.Sprintf("producing record %d with %s", n, c.name), err)
				mu.Lock()
				defer mu.Unlock()
				sent[n] = check.Place{Partition: r.Partition, Offset: r.Offset}
			})
		}
		check.OK("flush with "+c.name, cl.Flush(ctx))
		cl.Close()
	}
	check.Expect("records acknowledged", check.Total, len(sent))
	return sent
}

func member(broker, topic, group string, more ...kgo.Opt) *kgo.Client {
	return client(broker, append([]kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(300 * time.Millisecond),
		// Longer than this program waits for anything: a member that leaves must say so.
		kgo.SessionTimeout(45 * time.Second),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchMaxPartitionBytes(20_000),
	}, more...)...)
}

func headers(r *kgo.Record) []check.Header {
	var all []check.Header
	for _, h := range r.Headers {
		all = append(all, check.Header{Name: h.Key, Value: h.Value})
	}
	return all
}

// consume runs a member until the ledger has count records, commits, looks at the group, and leaves it.
func consume(broker string, admin *kadm.Client, topic, group string, ledger *check.Ledger, count int) {
	ctx, cancel := limited()
	defer cancel()
	cl := member(broker, topic, group)
	var taken []*kgo.Record
	take := func(ctx context.Context) int {
		fetches := cl.PollRecords(ctx, 50)
		for _, failure := range fetches.Errors() {
			if !errors.Is(failure.Err, context.DeadlineExceeded) {
				check.Fail("fetch of %s %d: %v", failure.Topic, failure.Partition, failure.Err)
			}
		}
		fetches.EachRecord(func(r *kgo.Record) {
			ledger.Take(check.Place{Partition: r.Partition, Offset: r.Offset}, r.Key, r.Value, headers(r), r.Timestamp)
			taken = append(taken, r)
		})
		return fetches.NumRecords()
	}
	for ledger.Count() < count {
		take(ctx)
		if ctx.Err() != nil {
			check.Fail("consume: expected %d records within %v, got %d", count, check.Wait, ledger.Count())
		}
	}
	if count == check.Total {
		quiet, stop := context.WithTimeout(ctx, time.Second)
		check.Expect("records after the last one", 0, take(quiet))
		stop()
	}
	check.OK("commit", cl.CommitRecords(ctx, taken...))
	described, err := admin.DescribeGroups(ctx, group)
	check.OK("describing the group", err)
	check.Expect("state of a group with a member", "Stable", described[group].State)
	check.Expect("members", 1, len(described[group].Members))
	assigned := described.AssignedPartitions()
	check.Expect("partitions assigned to the only member", check.Partitions, len(assigned[topic]))
	cl.Close()
}

func lookUp(broker string, admin *kadm.Client, topic string, ledger *check.Ledger) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("look offsets up, by place and by time, and seek there")
	ends, err := admin.ListEndOffsets(ctx, topic)
	check.OK("listing end offsets", err)
	starts, err := admin.ListStartOffsets(ctx, topic)
	check.OK("listing start offsets", err)
	for p, offset := range ledger.NextOffset {
		check.Expect(fmt.Sprintf("end offset of %d", p), offset, ends[topic][p].Offset)
		check.Expect(fmt.Sprintf("start offset of %d", p), int64(0), starts[topic][p].Offset)
	}
	for _, n := range []int{0, 123, check.Total - 1} {
		found, err := admin.ListOffsetsAfterMilli(ctx, check.Time(n).UnixMilli(), topic)
		check.OK("listing offsets by time", err)
		for p, end := range ledger.NextOffset {
			check.OK("offset by time", found[topic][p].Err)
			// Where nothing is so young, this client asks again for the end.
			want := ledger.FirstAtOrAfter(p, n, end)
			check.Expect(fmt.Sprintf("offset of time %d in %d", n, p), want, found[topic][p].Offset)
		}
	}
	at := ledger.Seen[321]
	cl := client(broker, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {at.Partition: kgo.NewOffset().At(at.Offset)}}))
	defer cl.Close()
	fetches := cl.PollRecords(ctx, 1)
	check.OK("fetch after a seek", fetches.Err())
	check.Expect("value after a seek", check.Value(321), fetches.Records()[0].Value)
}

func inspectGroup(admin *kadm.Client, topic, group string, ledger *check.Ledger) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("list and describe the group")
	listed, err := admin.ListGroups(ctx)
	check.OK("listing groups", err)
	check.Expect("state in the group list", "Empty", listed[group].State)
	check.Expect("protocol type in the group list", "consumer", listed[group].ProtocolType)
	committed, err := admin.FetchOffsets(ctx, group)
	check.OK("fetching the group's offsets", err)
	for p, offset := range ledger.NextOffset {
		got, ok := committed.Lookup(topic, p)
		check.True(fmt.Sprintf("partition %d must have an offset", p), ok, committed)
		check.Expect(fmt.Sprintf("offset committed in %d", p), offset, got.At)
	}
	lags, err := admin.Lag(ctx, group)
	check.OK("lag", err)
	check.Expect("lag of a group that has read all", int64(0), lags[group].Lag.Total())
}

// owner is a member, and what it owns at the moment.
type owner struct {
	cl    *kgo.Client
	seen  check.Numbers
	mu    sync.Mutex
	owned map[int32]bool
}

func join(broker, topic, group string) *owner {
	o := &owner{owned: map[int32]bool{}}
	change := func(now bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			o.mu.Lock()
			defer o.mu.Unlock()
			for _, p := range changed[topic] {
				if now {
					o.owned[p] = true
				} else {
					delete(o.owned, p)
				}
			}
		}
	}
	o.cl = member(broker, topic, group,
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)))
	go func() {
		defer check.Guard(name)
		for {
			fetches := o.cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(func(r *kgo.Record) { o.seen.Add(check.Number(headers(r))) })
		}
	}()
	return o
}

func (o *owner) now() []int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []int32
	for p := range o.owned {
		all = append(all, p)
	}
	return all
}

func share(broker, topic, group string) {
	check.Step("two members of one group")
	first := join(broker, topic, group)
	check.Until("all partitions with the first member", func() bool { return len(first.now()) == check.Partitions })
	second := join(broker, topic, group)
	check.Until("partitions divided between two members", func() bool { return check.Divided(first.now(), second.now()) })
	first.cl.Close()
	check.Until("all partitions with the member that stayed", func() bool { return len(second.now()) == check.Partitions })
	// Nothing was committed, so this member has read every record itself: what the other had comes again.
	check.Until("every record with the member that stayed", func() bool { return second.seen.Len() == check.Total })
	second.cl.Close()
}

func remove(broker string, admin *kadm.Client, topic string, groups ...string) {
	ctx, cancel := limited()
	defer cancel()
	check.Step("delete the groups and the topic")
	deleted, err := admin.DeleteGroups(ctx, groups...)
	check.OK("deleting groups", err)
	check.OK("deleting groups", deleted.Error())
	listed, err := admin.ListGroups(ctx)
	check.OK("listing groups", err)
	for _, group := range groups {
		_, left := listed[group]
		check.Expect("deleted group still listed: "+group, false, left)
	}
	answers, err := admin.DeleteTopics(ctx, topic)
	check.OK("deleting the topic", err)
	check.OK("deleting the topic", answers[topic].Err)
	check.Settle()
	// A client keeps metadata for seconds; a new one has none.
	cl := client(broker)
	defer cl.Close()
	all, err := kadm.NewClient(cl).ListTopics(ctx)
	check.OK("listing topics", err)
	check.Expect("deleted topic still listed", false, all.Has(topic))
}
