// Command franztxn runs franz-go's transactions against a broker.
package main

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"streamd/clients/check"
)

const (
	name = "franz-go-transactions"
	// Records of a transaction, the same number for each partition.
	each = 30
)

// The transactions in their order.
var rounds = []string{"first", "aborted", "second"}

func main() {
	check.Main(name, "github.com/twmb/franz-go", run)
}

func run(broker string) {
	topic := check.FreshName("franz-txn")
	source, target := topic+"-in", topic+"-out"
	cl := client(broker)
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ctx, cancel := limited()
	defer cancel()
	_, err := admin.CreateTopics(ctx, check.Partitions, 1, nil, source, target)
	check.OK("creating topics", err)
	check.Settle()
	producer := client(broker, kgo.TransactionalID(topic+"-a"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	ends(broker, producer, source)
	heldBack(broker, admin, producer, source, topic+"-a")
	fenced(broker, producer, source, topic+"-a")
	process(broker, admin, source, target, topic)
	_, err = admin.DeleteTopics(ctx, source, target)
	check.OK("deleting topics", err)
}

func client(broker string, more ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(broker)}, more...)...)
	check.OK("new client", err)
	return cl
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 4*check.Wait)
}

// words is what transactions of these kinds write to each partition.
func words(kinds ...string) map[int32][]string {
	all := map[int32][]string{}
	for _, kind := range kinds {
		for n := 0; n < each; n++ {
			p := int32(n % check.Partitions)
			all[p] = append(all[p], fmt.Sprintf("%s-%d", kind, n))
		}
	}
	return all
}

func write(producer *kgo.Client, topic, kind string) error {
	ctx, cancel := limited()
	defer cancel()
	var records []*kgo.Record
	for partition, all := range words(kind) {
		for _, word := range all {
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(word)})
		}
	}
	return producer.ProduceSync(ctx, records...).FirstErr()
}

func transact(producer *kgo.Client, topic, kind string) error {
	ctx, cancel := limited()
	defer cancel()
	check.OK("begin", producer.BeginTransaction())
	check.OK("records of "+kind, write(producer, topic, kind))
	return producer.EndTransaction(ctx, kgo.TransactionEndTry(kind != "aborted"))
}

// read takes what a consumer of this isolation sees, as many records as there must be, and what comes in half a second
// after them.
func read(broker, topic string, isolation kgo.IsolationLevel, count int) map[int32][]string {
	consumer := client(broker, kgo.FetchIsolationLevel(isolation), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	seen, total := map[int32][]string{}, 0
	end := time.Now().Add(check.Wait)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		fetches := consumer.PollFetches(ctx)
		cancel()
		fetches.EachRecord(func(r *kgo.Record) {
			seen[r.Partition] = append(seen[r.Partition], string(r.Value))
			total++
		})
		if total >= count && fetches.NumRecords() == 0 {
			return seen
		}
		check.True(fmt.Sprintf("%d records of %s in time", count, topic), time.Now().Before(end), seen)
	}
}

func expectRead(broker, topic string, isolation kgo.IsolationLevel, kinds ...string) {
	check.Expect("what is read of "+topic, words(kinds...), read(broker, topic, isolation, each*len(kinds)))
}

func ends(broker string, producer *kgo.Client, topic string) {
	check.Step("commit, abort, commit")
	for _, kind := range rounds {
		check.OK("the end of "+kind, transact(producer, topic, kind))
	}
	check.Settle()
	expectRead(broker, topic, kgo.ReadCommitted(), "first", "second")
	expectRead(broker, topic, kgo.ReadUncommitted(), rounds...)
}

func stableEnds(admin *kadm.Client, topic string) map[int32]int64 {
	ctx, cancel := limited()
	defer cancel()
	listed, err := admin.ListCommittedOffsets(ctx, topic)
	check.OK("committed offsets", err)
	found := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { found[o.Partition] = o.Offset })
	return found
}

func heldBack(broker string, admin *kadm.Client, producer *kgo.Client, topic, id string) {
	check.Step("an open transaction holds readers back")
	ctx, cancel := limited()
	defer cancel()
	before := stableEnds(admin, topic)
	check.OK("begin", producer.BeginTransaction())
	check.OK("records", write(producer, topic, "open"))
	check.Expect("the stable end", before, stableEnds(admin, topic))
	expectRead(broker, topic, kgo.ReadCommitted(), "first", "second")
	described, err := admin.DescribeTransactions(ctx, id)
	check.OK("describing it", err)
	check.Expect("its state", "Ongoing", described[id].State)
	producers, err := admin.DescribeProducers(ctx, kadm.TopicsSet{topic: {0: {}}})
	check.OK("describing producers", err)
	var first []int64
	producers.EachPartition(func(p kadm.DescribedProducersPartition) {
		for _, one := range p.ActiveProducers {
			if one.ProducerID == described[id].ProducerID {
				first = append(first, one.CurrentTxnStartOffset)
			}
		}
	})
	check.Expect("where it begins", []int64{before[0]}, first)
	check.OK("abort", producer.EndTransaction(ctx, kgo.TryAbort))
	check.Settle()
	for p := range before {
		// One more for the marker.
		before[p] += each/check.Partitions + 1
	}
	check.Expect("the stable end after it", before, stableEnds(admin, topic))
}

func fenced(broker string, producer *kgo.Client, topic, id string) {
	check.Step("a second producer of the same transactional id")
	check.OK("begin", producer.BeginTransaction())
	check.OK("records of a zombie", write(producer, topic, "zombie"))
	second := client(broker, kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer second.Close()
	check.OK("the second's", transact(second, topic, "last"))
	ctx, cancel := limited()
	defer cancel()
	err := producer.EndTransaction(ctx, kgo.TryCommit)
	check.True("the first producer's commit must be refused", err != nil, err)
	check.Step("refused: " + err.Error())
	check.Settle()
	expectRead(broker, topic, kgo.ReadCommitted(), "first", "second", "last")
}

// process reads, writes what it read to the other topic, commits both as one; some transactions are aborted.
func process(broker string, admin *kadm.Client, source, target, id string) {
	check.Step("read, process, write")
	group := id + "-group"
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(broker),
		kgo.TransactionalID(id+"-b"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(source),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequireStableFetchOffsets(),
	)
	check.OK("a session", err)
	defer session.Close()
	wanted := each * 3
	ctx, cancel := limited()
	defer cancel()
	end := time.Now().Add(check.Wait)
	done, turn := 0, 0
	for done < wanted {
		check.True("records processed in time", time.Now().Before(end), done)
		poll, stop := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := session.PollRecords(poll, 7)
		stop()
		if fetches.NumRecords() == 0 {
			continue
		}
		turn++
		check.OK("begin", session.Begin())
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(ctx, &kgo.Record{Topic: target, Partition: r.Partition, Value: r.Value}, nil)
		})
		committed, err := session.End(ctx, kgo.TransactionEndTry(turn%3 != 0))
		check.OK("the end", err)
		if committed {
			done += fetches.NumRecords()
		}
	}
	check.True("some were aborted", turn >= 3, turn)
	check.Settle()
	expectRead(broker, target, kgo.ReadCommitted(), "first", "second", "last")
	offsets, err := admin.FetchOffsets(ctx, group)
	check.OK("the group's offsets", err)
	var partitions []int32
	offsets.Each(func(o kadm.OffsetResponse) { partitions = append(partitions, o.Partition) })
	sort.Slice(partitions, func(i, j int) bool { return partitions[i] < partitions[j] })
	check.Expect("partitions with offsets", check.AllPartitions(), partitions)
}
