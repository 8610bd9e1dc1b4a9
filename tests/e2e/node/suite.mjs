// SPDX-License-Identifier: MIT
// The protocol as a second stock client sees it: npm `ws` and `@msgpack/msgpack`.
// usage: node suite.mjs ws://HOST:PORT/      one JSON line for each test, exit code tells.
import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import { decode, encode } from '@msgpack/msgpack'
import WebSocket from 'ws'

const url = process.argv[2]
const WAIT_MS = 20_000

class Client {
  static open() {
    return new Promise((resolve, reject) => {
      const c = new Client()
      c.frames = []
      c.seen = []
      c.waiting = []
      c.ws = new WebSocket(url, { perMessageDeflate: false })
      c.ws.binaryType = 'nodebuffer'
      c.ws.on('open', () => resolve(c))
      c.ws.on('error', (e) => reject(e))
      c.ws.on('message', (data, binary) => c.arrived(binary ? decode(data) : { type: '*text*' }))
      c.ws.on('close', (code) => { c.code = code; c.ring() })
    })
  }

  arrived(frame) {
    this.frames.push(frame)
    this.seen.push(frame)
    this.ring()
  }

  ring() {
    for (const w of this.waiting.splice(0)) w()
  }

  send(type, payload) {
    this.ws.send(encode(payload === undefined ? { type } : { type, payload }))
  }

  async take(fits, what) {
    const end = Date.now() + WAIT_MS
    for (;;) {
      const i = this.frames.findIndex(fits)
      if (i >= 0) return this.frames.splice(i, 1)[0]
      if (this.code !== undefined) throw new Error(`closed (${this.code}) waiting for ${what}`)
      if (Date.now() > end) throw new Error(`nothing for ${what}; unread: ${JSON.stringify(this.frames)}`)
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 500)
        this.waiting.push(() => { clearTimeout(timer); resolve() })
      })
    }
  }

  async ask(type, payload) {
    this.send(type, payload)
    return this.take((f) => f.type !== 'message' && f.type !== 'ack', `the answer to ${type}`)
  }

  async fails(type, payload, code) {
    const f = await this.ask(type, payload)
    assert.equal(f.type, 'error', `${type}: ${JSON.stringify(f)}`)
    assert.equal(f.payload.code, code)
  }

  async register(user = newUser()) {
    const f = await this.ask('register', {
      username: user.name, password: user.password, publicKey: user.bundle,
    })
    assert.equal(f.type, 'registerSuccess', JSON.stringify(f))
    Object.assign(user, { id: f.payload.userId, token: f.payload.sessionToken })
    this.user = user
    return this
  }

  async connect(user) {
    const f = await this.ask('connect', { sessionToken: user.token })
    assert.deepEqual(f, { type: 'connectSuccess', payload: { userId: user.id, username: user.name } })
    this.user = user
    return this
  }

  chat(to, over = {}) {
    return {
      id: crypto.randomUUID(), from: this.user.id, to: to.id ?? to,
      ephemeralPublicKey: crypto.randomBytes(32), messageNumber: 1,
      content: crypto.randomBytes(60).toString('base64'),
      timestamp: Math.floor(Date.now() / 1000), ...over,
    }
  }

  answer(id) {
    return this.take((f) => f.payload?.messageId === id
      && (f.type === 'error' || f.payload.status === 'accepted'), `the answer to ${id}`)
  }

  async post(to, over) {
    const m = this.chat(to, over)
    this.send('sendMessage', m)
    assert.deepEqual(await this.answer(m.id), { type: 'ack', payload: { messageId: m.id, status: 'accepted' } })
    return m
  }

  async refused(m, code) {
    this.send('sendMessage', m)
    const f = await this.answer(m.id)
    assert.equal(f.type, 'error')
    assert.equal(f.payload.code, code)
  }

  async get(sent) {
    const { payload } = await this.take((f) => f.type === 'message', `message ${sent.id}`)
    assert.ok(payload.ephemeralPublicKey instanceof Uint8Array, 'the key comes as bin')
    assert.deepEqual({ ...payload, ephemeralPublicKey: Buffer.from(payload.ephemeralPublicKey) },
      { ...sent, ephemeralPublicKey: Buffer.from(sent.ephemeralPublicKey) })
  }

  acknowledge(id) {
    this.send('acknowledgeMessage', { messageId: id, status: 'delivered' })
  }

  ping() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no pong')), WAIT_MS)
      this.ws.once('pong', () => { clearTimeout(timer); resolve() })
      this.ws.ping()
    })
  }

  delivered(id) {
    return this.take((f) => f.type === 'ack' && f.payload.messageId === id
      && f.payload.status === 'delivered', `delivered for ${id}`)
  }

  closed() {
    if (this.code !== undefined) return this.code
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('not closed')), WAIT_MS)
      this.ws.once('close', (code) => { clearTimeout(timer); resolve(code) })
    })
  }
}

function newUser() {
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ed25519')
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  const key = () => crypto.generateKeyPairSync('x25519').publicKey
    .export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64')
  const suite = { suiteId: 1, identityKey: key(), signedPrekey: key() }
  const data = Buffer.from(JSON.stringify({
    userId: '', timestamp: new Date().toISOString(), supportedSuites: [suite],
  }))
  return {
    name: `node_${crypto.randomBytes(6).toString('hex')}`,
    password: `Secret-${crypto.randomBytes(6).toString('hex')}-A1`,
    suite,
    bundle: {
      masterIdentityKey: raw.toString('base64'), bundleData: data.toString('base64'),
      signature: crypto.sign(null, data, privateKey).toString('base64'),
    },
  }
}

const register = async () => (await Client.open()).register()
const again = async (user) => (await Client.open()).connect(user)
const pair = () => Promise.all([register(), register()])

const tests = {
  async 'register, login, connect'() {
    const a = await register()
    const b = await Client.open()
    const f = await b.ask('login', { username: a.user.name, password: a.user.password })
    assert.equal(f.type, 'loginSuccess')
    assert.equal(f.payload.userId, a.user.id)
    assert.ok(Number.isInteger(f.payload.expires) && f.payload.expires > Date.now() / 1000)
    await again(a.user)
  },
  async 'what login, connect and register refuse'() {
    const a = await register()
    const c = await Client.open()
    await c.fails('login', { username: a.user.name, password: 'Wrong-Pass-1' }, 'INVALID_CREDENTIALS')
    await c.fails('connect', { sessionToken: 'a.b.c' }, 'INVALID_TOKEN')
    const u = newUser()
    const ask = { username: u.name, password: u.password, publicKey: u.bundle }
    await c.fails('register', { ...ask, password: 'weak' }, 'WEAK_PASSWORD')
    await c.fails('register', { ...ask, username: a.user.name }, 'REGISTRATION_FAILED')
    await c.fails('register', { ...ask, publicKey: a.user.bundle && { ...u.bundle, signature: a.user.bundle.signature } },
      'INVALID_KEY_BUNDLE')
    await c.register(u)
  },
  async 'getPublicKey gives the bundle as uploaded'() {
    const [a, b] = await pair()
    assert.deepEqual(await a.ask('getPublicKey', { userId: b.user.id }), {
      type: 'publicKeyBundle',
      payload: {
        userId: b.user.id, username: b.user.name, identityPublic: b.user.suite.identityKey,
        signedPrekeyPublic: b.user.suite.signedPrekey, signature: b.user.bundle.signature,
        verifyingKey: b.user.bundle.masterIdentityKey,
      },
    })
    await a.fails('getPublicKey', { userId: crypto.randomUUID() }, 'USER_NOT_FOUND')
    await a.fails('getPublicKey', { userId: 'nobody' }, 'INVALID_USER_ID')
  },
  async 'send, accepted, receive, acknowledge, delivered'() {
    const [a, b] = await pair()
    const m = await a.post(b.user)
    await b.get(m)
    b.acknowledge(m.id)
    await b.ping()
    await a.delivered(m.id)
  },
  async 'offline: waits, comes after connectSuccess, not again once acknowledged'() {
    const [a, b] = await pair()
    b.ws.close()
    await b.closed()
    const m = await a.post(b.user)
    const c = await again(b.user)
    await c.get(m)
    assert.equal(c.seen[0].type, 'connectSuccess')
    c.acknowledge(m.id)
    await c.ping()
    c.ws.terminate()
    const sentinel = await a.post(b.user)
    const d = await again(b.user)
    await d.get(sentinel)
  },
  async 'a repeated id is DUPLICATE_MESSAGE and delivered once'() {
    const [a, b] = await pair()
    const m = await a.post(b.user, { id: crypto.randomUUID().toUpperCase() })
    await a.refused(m, 'DUPLICATE_MESSAGE')
    await a.refused({ ...m, id: m.id.toLowerCase() }, 'DUPLICATE_MESSAGE')
    await b.get(m)
    await b.get(await a.post(b.user))
  },
  async 'what sendMessage refuses'() {
    const [a, b] = await pair()
    await a.refused(a.chat(b.user, { from: b.user.id }), 'FORBIDDEN')
    await a.refused(a.chat(b.user, { id: 'no-uuid' }), 'INVALID_MESSAGE_ID')
    await a.refused(a.chat(b.user, { content: '' }), 'INVALID_MESSAGE_FORMAT')
    await a.refused(a.chat(crypto.randomUUID()), 'USER_NOT_FOUND')
    const c = await Client.open()
    c.user = a.user
    await c.refused(c.chat(b.user), 'AUTH_REQUIRED')
  },
  async 'the key as an array of integers'() {
    const [a, b] = await pair()
    await b.get(await a.post(b.user, { ephemeralPublicKey: Array.from({ length: 32 }, (_, i) => i * 8) }))
  },
  async 'text, broken and doubled frames get INVALID_FORMAT, connection open'() {
    const a = await register()
    for (const data of ['text', Buffer.alloc(0), Buffer.from([0xc1]), Buffer.concat([encode({ type: 'x' }), encode({ type: 'x' })])]) {
      a.ws.send(data)
      const f = await a.take(() => true, 'INVALID_FORMAT')
      assert.equal(f.payload?.code, 'INVALID_FORMAT', JSON.stringify(f))
    }
    await a.ping()
  },
  async '100,001 bytes close with 1009'() {
    const a = await register()
    a.ws.send(Buffer.alloc(100_001))
    assert.equal(await a.closed(), 1009)
  },
  async '100 messages each way at once, in order'() {
    const [a, b] = await pair()
    const ab = Array.from({ length: 100 }, () => a.chat(b.user))
    const ba = Array.from({ length: 100 }, () => b.chat(a.user))
    for (let i = 0; i < 100; i++) {
      a.send('sendMessage', ab[i])
      b.send('sendMessage', ba[i])
    }
    const flow = async (from, to, sent) => {
      for (const m of sent) {
        const f = await from.take((x) => x.type === 'error' || x.payload?.status === 'accepted', 'an answer')
        assert.equal(f.payload.messageId, m.id)
        assert.equal(f.type, 'ack', JSON.stringify(f))
      }
      for (const m of sent) await to.get(m)
      for (const m of sent) to.acknowledge(m.id)
      await to.ping()
      for (const m of sent) await from.delivered(m.id)
    }
    await Promise.all([flow(a, b, ab), flow(b, a, ba)])
  },
  async 'two connections of one user both get the message'() {
    const [a, b] = await pair()
    const b2 = await again(b.user)
    const m = await a.post(b.user)
    await b.get(m)
    await b2.get(m)
  },
  async 'logout, changePassword, deleteAccount'() {
    const a = await register()
    const next = newUser().password
    assert.deepEqual(await a.ask('changePassword', {
      sessionToken: a.user.token, oldPassword: a.user.password, newPassword: next, newPasswordConfirm: next,
    }), { type: 'changePasswordSuccess' })
    const b = await Client.open()
    await b.fails('login', { username: a.user.name, password: a.user.password }, 'INVALID_CREDENTIALS')
    const f = await b.ask('login', { username: a.user.name, password: next })
    assert.equal(f.type, 'loginSuccess')
    const token = f.payload.sessionToken
    assert.deepEqual(await b.ask('logout', { sessionToken: token }), { type: 'logoutSuccess' })
    const c = await Client.open()
    const g = await c.ask('connect', { sessionToken: token })
    assert.ok(g.type === 'sessionExpired' || g.payload.code === 'INVALID_TOKEN', JSON.stringify(g))
    const h = await c.ask('login', { username: a.user.name, password: next })
    assert.deepEqual(await c.ask('deleteAccount', { sessionToken: h.payload.sessionToken, password: next }),
      { type: 'deleteAccountSuccess' })
    const d = await Client.open()
    await d.fails('login', { username: a.user.name, password: next }, 'INVALID_CREDENTIALS')
  },
}

let failed = 0
for (const [test, run] of Object.entries(tests)) {
  const t0 = Date.now()
  const line = { test }
  try {
    await run()
  } catch (e) {
    line.error = e.message
    failed++
  }
  console.log(JSON.stringify({ ...line, ms: Date.now() - t0 }))
}
process.exit(failed ? 1 : 0)
