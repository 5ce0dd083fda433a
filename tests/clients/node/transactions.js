// kafkajs's transactions against a broker.

const { Kafka, Partitioners, logLevel } = require('kafkajs')
const check = require('./check')
const { expect, expectTrue, step } = check

// Records of a transaction, the same number for each partition.
const EACH = 30
// The transactions in their order.
const ROUNDS = ['first', 'aborted', 'second']
const QUIET = 500

async function run(broker) {
  const kafka = new Kafka({ clientId: 'clients', brokers: [broker], logLevel: logLevel.NOTHING })
  const name = check.freshName('kafkajs-txn')
  const [source, target] = [`${name}-in`, `${name}-out`]
  const admin = kafka.admin()
  await admin.connect()
  const topics = [source, target].map((topic) => ({ topic, numPartitions: check.PARTITIONS, replicationFactor: 1 }))
  await admin.createTopics({ topics })
  await check.settle()
  const producer = await producerOf(kafka, `${name}-a`)
  await ends(kafka, producer, source)
  await heldBack(kafka, producer, source)
  await fenced(kafka, producer, source, `${name}-a`)
  await process(kafka, admin, source, target, name)
  await admin.deleteTopics({ topics: [source, target] })
  await admin.disconnect()
}

async function producerOf(kafka, transactionalId) {
  const createPartitioner = Partitioners.DefaultPartitioner
  const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1, createPartitioner })
  await producer.connect()
  return producer
}

/** What transactions of these kinds write to each partition. */
function words(kinds) {
  const all = {}
  for (let p = 0; p < check.PARTITIONS; p++) {
    all[p] = kinds.flatMap((kind) => Array.from({ length: EACH }, (_, n) => [`${kind}-${n}`, n]))
      .filter(([, n]) => n % check.PARTITIONS === p)
      .map(([word]) => word)
  }
  return all
}

async function write(transaction, topic, kind) {
  const messages = Object.entries(words([kind]))
    .flatMap(([p, all]) => all.map((value) => ({ value, partition: Number(p) })))
  await transaction.send({ topic, messages })
}

/** The first `count` records that a consumer of this isolation sees, and what comes soon after them. */
async function read(kafka, topic, readUncommitted, count) {
  const consumer = kafka.consumer({ groupId: `${check.freshName(topic)}-${Math.random()}`, readUncommitted })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const seen = Object.fromEntries(Array.from({ length: check.PARTITIONS }, (_, p) => [p, []]))
  let total = 0
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      seen[partition].push(message.value.toString())
      total += 1
    },
  })
  await check.waitUntil(`${count} records of ${topic}`, () => total >= count)
  await new Promise((resolve) => setTimeout(resolve, QUIET))
  await consumer.disconnect()
  return seen
}

async function expectRead(kafka, topic, readUncommitted, kinds) {
  expect(`what is read of ${topic}`, words(kinds), await read(kafka, topic, readUncommitted, EACH * kinds.length))
}

async function ends(kafka, producer, topic) {
  step('commit, abort, commit')
  for (const kind of ROUNDS) {
    const transaction = await producer.transaction()
    await write(transaction, topic, kind)
    await (kind === 'aborted' ? transaction.abort() : transaction.commit())
  }
  await check.settle()
  await expectRead(kafka, topic, false, ['first', 'second'])
  await expectRead(kafka, topic, true, ROUNDS)
}

async function heldBack(kafka, producer, topic) {
  step('an open transaction holds readers back')
  const transaction = await producer.transaction()
  await write(transaction, topic, 'open')
  await expectRead(kafka, topic, false, ['first', 'second'])
  await transaction.abort()
}

async function fenced(kafka, producer, topic, transactionalId) {
  step('a second producer of the same transactional id')
  const old = await producer.transaction()
  await write(old, topic, 'zombie')
  const second = await producerOf(kafka, transactionalId)
  const transaction = await second.transaction()
  await write(transaction, topic, 'last')
  await transaction.commit()
  const refusal = await old.commit().then(() => null, (error) => error)
  expectTrue("the first producer's commit must be refused", refusal !== null, refusal)
  step(`refused: ${refusal.type}`)
  await check.settle()
  await expectRead(kafka, topic, false, ['first', 'second', 'last'])
  await second.disconnect()
}

/** Reads, writes what it read to the other topic, commits both as one; some transactions are aborted. */
async function process(kafka, admin, source, target, name) {
  step('read, process, write')
  const groupId = `${name}-group`
  const consumer = kafka.consumer({ groupId, maxBytesPerPartition: 400 })
  const producer = await producerOf(kafka, `${name}-b`)
  const wanted = EACH * 3
  let [done, turn] = [0, 0]
  await consumer.connect()
  await consumer.subscribe({ topic: source, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    partitionsConsumedConcurrently: 1,
    eachBatch: async ({ batch, resolveOffset }) => {
      turn += 1
      const transaction = await producer.transaction()
      const { topic, partition } = batch
      const messages = batch.messages.map(({ value }) => ({ value, partition }))
      await transaction.send({ topic: target, messages })
      const offset = (BigInt(batch.lastOffset()) + 1n).toString()
      await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic, partitions: [{ partition, offset }] }] })
      if (turn % 3 === 2) {
        await transaction.abort()
        consumer.seek({ topic, partition, offset: batch.firstOffset() })
      } else {
        await transaction.commit()
        resolveOffset(batch.lastOffset())
        done += messages.length
      }
    },
  })
  await check.waitUntil('all records processed', () => done >= wanted)
  await consumer.disconnect()
  await producer.disconnect()
  expectTrue('some were aborted', turn >= 3, turn)
  await check.settle()
  await expectRead(kafka, target, false, ['first', 'second', 'last'])
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [source] })
  expectTrue('an offset is committed in each partition', partitions.every(({ offset }) => Number(offset) > 0), partitions)
}

check.main('kafkajs-transactions', require('kafkajs/package.json').version, run)
