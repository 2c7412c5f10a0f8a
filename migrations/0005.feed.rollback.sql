-- Cursors of the feed are lost, and keys that may follow it may read users only.
UPDATE api_key
SET role = 'reader'
WHERE role = 'follower';

ALTER TABLE api_key DROP CONSTRAINT api_key_role_check,
ADD CONSTRAINT api_key_role_check CHECK (role IN ('reader', 'editor'));

COMMENT ON COLUMN api_key.role IS 'reader: reads users. editor: does everything.';

DROP TABLE feed;
