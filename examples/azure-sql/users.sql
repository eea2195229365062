-- The database's users, in the database itself and not in master. Run by the server's Entra administrator: a login with a
-- password may not look up users in the directory. The names are those of the managed identities.

CREATE USER [orders-app] FROM EXTERNAL PROVIDER;
ALTER ROLE db_datareader ADD MEMBER [orders-app];
ALTER ROLE db_datawriter ADD MEMBER [orders-app];

CREATE USER [orders-migrate] FROM EXTERNAL PROVIDER;
ALTER ROLE db_ddladmin ADD MEMBER [orders-migrate];
ALTER ROLE db_datareader ADD MEMBER [orders-migrate];
ALTER ROLE db_datawriter ADD MEMBER [orders-migrate];
