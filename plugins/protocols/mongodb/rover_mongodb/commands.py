"""Names of commands (MongoDB manual, Database Commands), which of them are about a collection, and of operations."""

import re
from functools import lru_cache

_ON_COLLECTIONS = """
    aggregate analyze bulkWrite checkShardingIndex cleanupReshardCollection cloneCollection
    cloneCollectionAsCapped collMod collStats compact convertToCapped count create createIndexes
    createSearchIndexes dataSize delete deleteIndexes distinct drop dropIndexes dropSearchIndex enableSharding
    filemd5 find findAndModify geoNear geoSearch getMore getShardVersion group insert killCursors listIndexes
    listSearchIndexes mapReduce mergeChunks moveChunk moveCollection parallelCollectionScan planCacheClear
    planCacheClearFilters planCacheListFilters planCacheSetFilter refineCollectionShardKey reIndex
    renameCollection reshardCollection shardCollection split unshardCollection update updateSearchIndex validate
"""
_ON_OTHERS = """
    abortTransaction addShard addShardToZone appendOplogNote authenticate availableQueryOptions balancerStart
    balancerStatus balancerStop buildInfo clearJumboFlag cleanupOrphaned clone cloneDatabase commitTransaction
    configureFailPoint connectionStatus connPoolStats connPoolSync coordinateCommitTransaction copydb createRole
    createUser currentOp dbHash dbStats driverOIDTest dropAllRolesFromDatabase dropAllUsersFromDatabase
    dropConnections dropDatabase dropRole dropUser endSessions eval explain features flushRouterConfig
    forceerror fsync fsyncUnlock getAuditConfig getClusterParameter getCmdLineOpts getDefaultRWConcern
    getLastError getLog getnonce getParameter getPrevError grantPrivilegesToRole grantRolesToRole
    grantRolesToUser hello hostInfo invalidateUserCache isdbgrid isMaster isSelf killAllSessions
    killAllSessionsByPattern killOp killSessions listCollections listCommands listDatabases listShards lockInfo
    logApplicationMessage logout logRotate moveRange movePrimary netstat ping profile prepareTransaction
    refreshSessions removeShard removeShardFromZone replSetAbortPrimaryCatchUp replSetDeclareElectionWinner
    replSetFreeze replSetGetConfig replSetGetRBID replSetGetStatus replSetHeartbeat replSetInitiate
    replSetMaintenance replSetReconfig replSetRequestVotes replSetResizeOplog replSetStepDown replSetStepUp
    replSetSyncFrom replSetUpdatePosition resetError revokePrivilegesFromRole revokeRolesFromRole
    revokeRolesFromUser rolesInfo rotateCertificates saslContinue saslStart serverStatus setAuditConfig
    setClusterParameter setDefaultRWConcern setFeatureCompatibilityVersion setIndexCommitQuorum setParameter
    setUserWriteBlockMode shardingState shutdown sleep startSession top touch
    transitionFromDedicatedConfigServer updateRole updateUser updateZoneKeyRange usersInfo voteCommitIndexBuild
    waitForFailPoint whatsmysni whatsmyuri
"""

_COMMANDS = {name.lower(): name for name in (_ON_COLLECTIONS + _ON_OTHERS).split()}
_COLLECTIONS = frozenset(name.lower() for name in _ON_COLLECTIONS.split())
OTHER = "other"
"""A command that nobody has documented: a client may send anything."""

_LONGEST = 80
_VALUE = re.compile(r"(?=[a-f]*[0-9])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*|[0-9]{3,}|[^\w.$*{}-]+")


def is_value(text: str) -> bool:
    """Whether a name is likely one of many, made of a number or a date."""
    return bool(_VALUE.search(text))


def canonical(command: str) -> str:
    """`isMaster` for `ismaster`: servers ignore the case of some."""
    return _COMMANDS.get(command) or _COMMANDS.get(command.lower(), OTHER)


def names_collection(command: str) -> bool:
    """Whether a command is about a collection: its value, or that of what it explains. Others' are users, or code."""
    return command.lower() in _COLLECTIONS or command == "explain"


@lru_cache(maxsize=4096)
def operation(command: str, collection: str) -> str:
    """`find orders`: command and collection, with `{}` for what is likely a value in a collection's name."""
    if not collection:
        return canonical(command)
    return f"{canonical(command)} {_VALUE.sub('{}', collection[:_LONGEST])}"
