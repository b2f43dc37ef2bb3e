// Run once, by the entrypoint of the database's image, while nobody else can reach it.
const password = require('fs').readFileSync('/run/secrets/db_password', 'utf8').trim()
db.getSiblingDB('rocketchat').createUser({
  user: 'rocketchat',
  pwd: password,
  // The log of changes is in `local`.
  roles: ['dbOwner', { role: 'read', db: 'local' }, { role: 'clusterMonitor', db: 'admin' }],
})
