-- Who sends notices: what case files (hirundo-collector export) say of it. As hirundo_owner.
insert into hirundo.setting (name, value, meaning) values
  ('reporter_name', '', 'Who sends notices, as case files name it (hirundo-collector export); empty: not said, and no X-ARF'),
  ('reporter_contact', '', 'Mail address for answers to notices, in case files; X-ARF takes what follows its @ as the reporter''s domain; empty: not said, and no X-ARF');
----
-- a constraint of its own: setting_check is of others; the limits are those of X-ARF
alter table hirundo.setting add constraint setting_reporter_check check (
  case name when 'reporter_name' then length(value) <= 200 and value !~ '[\x01-\x1f\x7f]'
            when 'reporter_contact' then length(value) <= 200
              and value ~ '^([A-Za-z0-9.!#$%&*+/=?^_{|}~-]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)?$'
            else true end);
