// kafkajs, the Node.js client that never sends flexible versions, against a broker.

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const check = require('./check')
const { expect, expectTrue, step } = check

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'

// A third of the records with each codec that this client has without native code.
const CODECS = [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.Snappy]
const PARTITIONS = Array.from({ length: check.PARTITIONS }, (_, p) => p)

async function run(broker) {
  const kafka = new Kafka({ clientId: 'clients', brokers: [broker], logLevel: logLevel.ERROR })
  const topic = check.freshName('kafkajs')
  const group = `${topic}-group`
  const admin = kafka.admin()
  await admin.connect()
  await create(admin, topic)
  const sent = await produce(kafka, topic)
  const ledger = new check.Ledger()
  step('first member of the group, from the earliest record')
  await consume(kafka, admin, topic, group, ledger, check.HALF)
  step('the same group again, from where it left off')
  await consume(kafka, admin, topic, group, ledger, check.TOTAL)
  ledger.complete()
  for (const { n, partition, offset } of sent) {
    const first = ledger.firstAtOrAfter(partition, check.timeOf(n))
    expect(`place of the batch from record ${n} on, as acknowledged and as consumed, in ${partition}`, first, offset)
  }
  await lookUp(kafka, admin, topic, ledger)
  await inspectGroup(admin, topic, group, ledger)
  await share(kafka, topic, `${topic}-shared`)
  await remove(admin, topic, [group, `${topic}-shared`])
  await admin.disconnect()
}

async function create(admin, topic) {
  step('create a topic')
  const wanted = {
    topics: [{
      topic,
      numPartitions: check.PARTITIONS,
      replicationFactor: 1,
      configEntries: [{ name: 'retention.ms', value: '86400000' }],
    }],
  }
  expect('creating a topic', true, await admin.createTopics(wanted))
  await check.settle()
  // This client turns TOPIC_ALREADY_EXISTS, and nothing else, into false.
  expect('creating a topic twice', false, await admin.createTopics(wanted))
  step('list and describe it')
  const listed = await admin.listTopics()
  expectTrue('topic list must name the topic', listed.includes(topic), listed)
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  expect('partitions', PARTITIONS, topics[0].partitions.map((p) => p.partitionId).sort())
  const { brokers } = await admin.describeCluster()
  for (const partition of topics[0].partitions) {
    expectTrue('leader must be a broker', brokers.some((b) => b.nodeId === partition.leader), partition)
  }
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms', 'cleanup.policy'] }],
  })
  const entries = resources[0].configEntries.map((e) => `${e.configName}=${e.configValue}`).sort()
  expect('configs', ['cleanup.policy=delete', 'retention.ms=86400000'], entries)
}

/** Sends all records; where the first record of each request's partitions was put. */
async function produce(kafka, topic) {
  step('produce without a codec, with gzip and with snappy')
  const sent = []
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let from = 0; from < check.TOTAL; from += 50) {
    const compression = CODECS[Math.floor((from * CODECS.length) / check.TOTAL)]
    const messages = []
    for (let n = from; n < from + 50; n++) {
      messages.push({
        key: check.keyOf(n),
        value: check.valueOf(n),
        headers: check.headersOf(n),
        timestamp: String(check.timeOf(n)),
      })
    }
    const answers = await producer.send({ topic, acks: -1, compression, messages })
    for (const answer of answers) {
      expect(`error of partition ${answer.partition}`, 0, answer.errorCode)
      sent.push({ n: from, partition: answer.partition, offset: Number(answer.baseOffset) })
    }
  }
  await producer.disconnect()
  return sent
}

function consumerOf(kafka, group) {
  return kafka.consumer({
    groupId: group,
    heartbeatInterval: 300,
    // Longer than this program waits for anything: a member that leaves must say so.
    sessionTimeout: 45_000,
    maxBytesPerPartition: 20_000,
    maxWaitTimeInMs: 500,
    retry: { retries: 5 },
  })
}

/** Runs a consumer until the ledger has `count` records, then commits and stops it. */
async function consume(kafka, admin, topic, group, ledger, count) {
  const consumer = consumerOf(kafka, group)
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  let failed = null
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (failed !== null || (count < check.TOTAL && ledger.seen.size >= count)) return
      try {
        ledger.take(partition, message)
      } catch (error) {
        failed = error
      }
    },
  })
  await check.waitUntil(`${count} records`, () => failed !== null || ledger.seen.size >= count)
  if (failed !== null) throw failed
  if (count === check.TOTAL) {
    // Whatever comes in this second is a record too many, and the ledger says so.
    await new Promise((resolve) => setTimeout(resolve, 1000))
    if (failed !== null) throw failed
  }
  const offsets = [...ledger.nextOffset]
  await consumer.commitOffsets(
    offsets.map(([partition, offset]) => ({ topic, partition, offset: String(offset), metadata: `at ${offset}` })),
  )
  const { groups } = await admin.describeGroups([group])
  const { errorCode, state, members } = groups[0]
  expect('description of a group with a member', [0, 'Stable', 1], [errorCode, state, members.length])
  await consumer.disconnect()
}

async function lookUp(kafka, admin, topic, ledger) {
  step('look offsets up, by place and by time, and seek there')
  const ends = await admin.fetchTopicOffsets(topic)
  const want = PARTITIONS.map((p) => [p, '0', String(ledger.nextOffset.get(p))])
  expect('offsets of the partitions', want, ends.map((e) => [e.partition, e.low, e.high]).sort((a, b) => a[0] - b[0]))
  for (const n of [0, 123, check.TOTAL - 1]) {
    for (const { partition, offset } of await admin.fetchTopicOffsetsByTimestamp(topic, check.timeOf(n))) {
      const first = ledger.firstAtOrAfter(partition, check.timeOf(n))
      expect(`offset of time ${n} in ${partition}`, String(first), offset)
    }
  }
  const { partition, offset } = ledger.seen.get(321)
  const consumer = consumerOf(kafka, `${topic}-seek`)
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const values = []
  await consumer.run({
    autoCommit: false,
    eachMessage: async (got) => {
      if (got.partition === partition && got.message.offset === String(offset)) values.push(got.message.value)
    },
  })
  consumer.seek({ topic, partition, offset: String(offset) })
  await check.waitUntil('a record after a seek', () => values.length > 0)
  expect('value after a seek', check.valueOf(321), values[0])
  await consumer.disconnect()
}

async function inspectGroup(admin, topic, group, ledger) {
  step('list and describe the group')
  const listed = await admin.listGroups()
  expectTrue('group list must name the group', listed.groups.some(
    (g) => g.groupId === group && g.protocolType === 'consumer'), listed.groups)
  const { groups } = await admin.describeGroups([group])
  expect('state of a group without members', 'Empty', groups[0].state)
  const committed = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  const got = committed[0].partitions.map((p) => [p.partition, p.offset, p.metadata]).sort((a, b) => a[0] - b[0])
  const want = PARTITIONS.map((p) => [p, ledger.nextOffset.get(p)]).map(([p, o]) => [p, String(o), `at ${o}`])
  expect('offsets of the group, with their text', want, got)
}

/** A consumer, what it owns at the moment, and the records it saw. */
class Member {
  owned = []
  seen = new Set()

  constructor(kafka, group) {
    this.consumer = consumerOf(kafka, group)
  }

  async join(topic) {
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.owned = [...(payload.memberAssignment[topic] ?? [])].sort()
    })
    this.consumer.on(this.consumer.events.REBALANCING, () => {
      this.owned = []
    })
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [topic], fromBeginning: true })
    await this.consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }) => this.seen.add(Number(message.headers.n)),
    })
  }
}

async function share(kafka, topic, group) {
  step('two members of one group')
  const [first, second] = [new Member(kafka, group), new Member(kafka, group)]
  const every = (member) => member.owned.length === check.PARTITIONS
  await first.join(topic)
  await check.waitUntil('all partitions with the first member', () => every(first))
  await second.join(topic)
  await check.waitUntil('partitions divided between two members', () => {
    const [mine, yours] = [first.owned, second.owned]
    const all = [...new Set([...mine, ...yours])]
    return mine.length > 0 && yours.length > 0 && mine.length + yours.length === all.length && all.length === check.PARTITIONS
  })
  await first.consumer.disconnect()
  await check.waitUntil('all partitions with the member that stayed', () => every(second))
  // Nothing was committed, so this member has read every record itself: what the other had comes again.
  await check.waitUntil('every record with the member that stayed', () => second.seen.size === check.TOTAL)
  await second.consumer.disconnect()
}

async function remove(admin, topic, groups) {
  step('delete the groups and the topic')
  const deleted = await admin.deleteGroups(groups)
  expect('errors of the deletion', groups.map(() => 0), deleted.map((d) => d.errorCode))
  const left = (await admin.listGroups()).groups.map((g) => g.groupId)
  expect('deleted groups still listed', [], groups.filter((g) => left.includes(g)))
  await admin.deleteTopics({ topics: [topic] })
  await check.settle()
  expect('deleted topic still listed', false, (await admin.listTopics()).includes(topic))
}

check.main('kafkajs', require('kafkajs/package.json').version, run)
